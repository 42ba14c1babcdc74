"""The errors of a command, each with its exit code."""

from typing import ClassVar


class CommandFailed(Exception):  # noqa: N818 -- the names describe a result
    """The text says what is wrong and what to do."""

    code: ClassVar[int]


class Refused(CommandFailed):
    """The API refused the request: invalid input, not found, or not allowed."""

    code = 1


class BadSettings(CommandFailed):
    """No token, an invalid address, or an unreadable settings file. typer uses the same code for wrong usage."""

    code = 2


class Unreachable(CommandFailed):
    """No response, or a response that reports a fault of the server."""

    code = 3


class RunFailed(CommandFailed):
    """The awaited run did not succeed."""

    code = 4


class TimedOut(CommandFailed):
    """The awaited run did not end in time."""

    code = 5


class NotWhole(CommandFailed):
    """A part of the range is not verified."""

    code = 6
