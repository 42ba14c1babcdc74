"""python -m command_line, and the command `candlekeep`."""

import sys

from command_line.app import app
from command_line.failures import CommandFailed
from command_line.output import say


def main() -> None:
    """Run, and end with the exit code that says how it went."""
    try:
        app()
    except CommandFailed as failure:
        say(f"candlekeep: {failure}")
        sys.exit(failure.code)
    except BrokenPipeError:  # `candlekeep logs list | head`
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
