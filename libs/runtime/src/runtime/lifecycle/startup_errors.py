"""How a resource says that its surroundings do not fit, as an old database schema does not."""


class StartupRefused(Exception):  # noqa: N818 -- it names what happened
    """Waiting will not help, and the message says what to do: one line in the log, then exit 1."""
