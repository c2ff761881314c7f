"""`python -m stepsynth` is the `stepsynth` command."""

from stepsynth.cli.main import main

if __name__ == "__main__":
    main()
