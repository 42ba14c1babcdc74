"""The command `python -m admin_api notify-test`."""

import asyncio

import typer

from admin_api.receivers.addresses import addresses_in
from admin_api.receivers.sending import MessageType, NotSent, Receiver
from admin_api.receivers.settings import NotificationSettings
from runtime.settings import load_settings

_TITLE = "Candlekeep: test message"
_BODY = "This is a test. Messages about problems of runs and candles will arrive here."


def notify_test() -> None:
    """Send a test message to each receiver of NOTIFY_URLS. Exit code 1 if one does not accept it."""
    settings = load_settings(NotificationSettings)
    addresses = addresses_in(settings.notify_urls.get_secret_value())
    if not addresses:
        typer.echo("NOTIFY_URLS is empty, so no notifications are sent.", err=True)
        raise typer.Exit(2)
    receivers = [Receiver(each, settings.notify_timeout_seconds) for each in addresses]
    outcomes = asyncio.run(_send_all(receivers))
    for receiver, reason in zip(receivers, outcomes, strict=True):
        typer.echo(f"receiver {receiver.name}: {'accepted the message' if reason is None else f'failed: {reason}'}")
    raise typer.Exit(int(any(reason is not None for reason in outcomes)))


async def _send_all(receivers: list[Receiver]) -> list[str | None]:
    return await asyncio.gather(*map(_send, receivers))


async def _send(receiver: Receiver) -> str | None:
    """The reason of a failure; None if the receiver accepted the message."""
    try:
        await receiver.send(_TITLE, _BODY, MessageType.INFO)
    except NotSent as error:
        return str(error)
    return None
