"""The error of a resource that this release cannot use, such as a database with an old schema."""


class StartupRefused(Exception):  # noqa: N818 -- the name states the problem
    """Waiting does not help. The message says what to do; it is logged as one line, and the exit code is 1."""
