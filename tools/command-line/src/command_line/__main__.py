"""The command `candlekeep`, also as `python -m command_line`."""

import sys

from command_line.app import app
from command_line.failures import CommandFailed
from command_line.output import print_message


def main() -> None:
    """Run the command and exit with its code."""
    try:
        app()
    except CommandFailed as failure:
        print_message(f"candlekeep: {failure}")
        sys.exit(failure.code)
    except BrokenPipeError:  # `candlekeep logs list | head`
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
