"""`python -m stepsynth` is the `stepsynth` command."""

import signal
import sys

from stepsynth._util.interrupts import interrupt_on


def main() -> None:
    """Run the command line; Ctrl-C leaves no traceback, whenever it comes."""
    try:
        interrupt_on(signal.SIGINT)
        from stepsynth.cli.main import main as run

        run()
    except KeyboardInterrupt:  # while the commands are loaded, or the second in a moment
        sys.stderr.write("stopped by Ctrl-C\n")
        raise SystemExit(130) from None
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exit code is known


if __name__ == "__main__":
    main()
