"""What may go wrong with an exchange, in our words: the class answers for the log, `retryable` for the machine."""

import asyncio

from contracts.vocabulary import ErrorClass


class ExchangeFailure(Exception):  # noqa: N818 -- it names what happened
    """An exchange did not give what was asked for. Raised at the border; no foreign exception passes it."""

    def __init__(
        self, error_class: ErrorClass, message: str, *, retryable: bool, retry_after: float | None = None
    ) -> None:
        """`message` is for a person. `retry_after`: seconds that the exchange asked for, counted from now."""
        super().__init__(message)
        self.error_class = error_class
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after


class RequestDeferred(ExchangeFailure):
    """Nothing was asked: the exchange is known not to be well, and somebody else looks whether it is again."""

    def __init__(
        self, error_class: ErrorClass, message: str, *, wait: float | None, told: bool, changed: asyncio.Event
    ) -> None:
        """`wait`: seconds until it may be tried, None while a probe is under way; `told`: by the exchange, not guessed.
        `changed` is set as soon as it is worth trying, or clear that it is not.
        """
        super().__init__(error_class, message, retryable=True, retry_after=wait)
        self.told = told
        self.changed = changed
