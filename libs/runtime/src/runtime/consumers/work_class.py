"""The classes of work in a lane. They decide which message starts first, and how many may run at the same time."""

from enum import StrEnum


class WorkClass(StrEnum):
    """The class of a message and of the work that it causes."""

    SCHEDULED = "scheduled"
    """Work that is due at this time."""
    REQUESTED = "requested"
    """Work that a caller waits for. It takes turns with scheduled work."""
    BACKGROUND = "background"
    """Work that nothing waits for. It has places of its own, and does not delay the other classes."""
