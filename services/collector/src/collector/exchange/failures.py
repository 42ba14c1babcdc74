"""Failures of exchanges: `error_class` is for the run log, `retryable` for the retry policy."""

import asyncio

from contracts.vocabulary import ErrorClass
from runtime.printable import printable


class ExchangeFailure(Exception):  # noqa: N818 -- the name states the problem
    """A request to an exchange failed. All exceptions of ccxt and aiohttp are translated to this class."""

    def __init__(
        self, error_class: ErrorClass, message: str, *, retryable: bool, retry_after: float | None = None
    ) -> None:
        """`message` is shown to people, without control characters that an exchange may have sent. `retry_after`: the
        wait that the exchange requires, in seconds from now.
        """
        self.message = printable(message)
        super().__init__(self.message)
        self.error_class = error_class
        self.retryable = retryable
        self.retry_after = retry_after


class RequestDeferred(ExchangeFailure):
    """The request was not sent, because the exchange's circuit is open and this request is not the probe."""

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        *,
        wait: float | None,
        until_is_known: bool,
        circuit_changed: asyncio.Event,
    ) -> None:
        """`wait`: seconds until a request may be sent; None while a probe is in flight. `until_is_known`: the exchange
        gave the end of the wait; otherwise it is estimated. `circuit_changed` is set as soon as the circuit has changed
        or the probe has ended.
        """
        super().__init__(error_class, message, retryable=True, retry_after=wait)
        self.until_is_known = until_is_known
        self.circuit_changed = circuit_changed
