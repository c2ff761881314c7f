"""The `stepsynth` command, as `python -m stepsynth`."""

import signal
import sys

from stepsynth._util.interrupts import interrupt_on


def main() -> None:
    """Run the command line; Ctrl-C leaves no traceback, whenever it comes."""
    try:
        interrupt_on(signal.SIGINT)
        from stepsynth.cli.main import main as run

        run()
    except KeyboardInterrupt:  # while the commands load, or a second one at once
        sys.stderr.write("stopped by Ctrl-C\n")
        raise SystemExit(130) from None
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # too late to change the exit code


if __name__ == "__main__":
    main()
