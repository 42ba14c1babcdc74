"""How a command can fail, each with the exit code that a script sees."""

from typing import ClassVar


class CommandFailed(Exception):  # noqa: N818 -- they name what is the case
    """Its text says what is wrong and what to do."""

    code: ClassVar[int]


class Refused(CommandFailed):
    """The API understood and said no: bad input, no such thing, not allowed."""

    code = 1


class BadSettings(CommandFailed):
    """No token, an address that is none, a settings file that cannot be read. The code that typer has for bad usage."""

    code = 2


class Unreachable(CommandFailed):
    """No answer, or an answer that says that the system is not well."""

    code = 3


class RunFailed(CommandFailed):
    """What was waited for has ended, and not well."""

    code = 4


class TooLate(CommandFailed):
    """What was waited for has not happened in time."""

    code = 5
