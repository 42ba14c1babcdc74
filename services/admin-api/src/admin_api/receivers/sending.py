"""Sends a message to one receiver by Apprise: in a thread, and with a time limit."""

import asyncio
import threading
from enum import StrEnum
from typing import Final

from admin_api.receivers.addresses import Address, UnknownAddress, service_of
from runtime.printable import printable

_LONGEST_REASON: Final = 300


class MessageType(StrEnum):
    """The type of a message, with the names of Apprise. Many services show each type in another colour."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


class NotSent(Exception):  # noqa: N818 -- the name states the problem
    """The receiver did not confirm the message. After a timeout, the message may have arrived nevertheless."""


class Receiver:
    """A receiver, which gets one message at a time. If it does not answer, this occupies one thread and delays nothing
    else.

    The thread is a daemon, so that the process can end while a service does not answer.
    """

    def __init__(self, address: Address, timeout_seconds: float) -> None:
        service = service_of(address.url)
        if service is None:
            raise UnknownAddress(address.name)
        self.name, self.id = address.name, address.id
        self._address = address
        self._service, self._timeout = service, timeout_seconds
        self._thread: threading.Thread | None = None

    async def send(self, title: str, body: str, message_type: MessageType) -> None:
        """Raises `NotSent`."""
        if self._thread is not None and self._thread.is_alive():
            raise NotSent("the last message is still being sent")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[str | None] = loop.create_future()

        def report(reason: str | None) -> None:
            if not outcome.done():
                outcome.set_result(reason)

        def work() -> None:
            reason = self._send(title, body, message_type)
            try:
                loop.call_soon_threadsafe(report, reason)
            except RuntimeError:  # the loop has ended, so no task waits for the outcome
                return

        self._thread = threading.Thread(target=work, name=f"notification to receiver {self.name}", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(self._timeout):
                reason = await outcome
        except TimeoutError:
            raise NotSent(f"no answer within {self._timeout:g} s") from None
        if reason is not None:
            raise NotSent(reason)

    def _send(self, title: str, body: str, message_type: MessageType) -> str | None:
        """None if the receiver has accepted the message, otherwise the reason. Runs in the thread."""
        from apprise import Apprise, NotifyFormat  # noqa: PLC0415 -- see `service_of`

        try:
            sender = Apprise(asset=self._service.asset)
            sender.add(self._service)
            result = sender.notify(
                body=body, title=title, notify_type=message_type.value, body_format=NotifyFormat.TEXT
            )
        except Exception as error:  # noqa: BLE001 -- a plugin may raise anything, and only this message is lost
            return f"Apprise failed with {type(error).__name__}"  # the text of the error may contain the address
        if result:
            return None
        warnings = printable(" / ".join(dict.fromkeys(entry.message for entry in result.logs())))
        return self._address.redacted(warnings)[:_LONGEST_REASON] or "the receiver did not accept the message"
