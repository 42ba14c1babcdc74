"""Follows runs on the event stream of the API. After a disconnection, it resumes at the last event."""

import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Final

import httpx
from httpx_sse import SSEError, connect_sse

from command_line.client import Api, explanation, require_success
from command_line.failures import Unreachable
from command_line.output import print_message

_READ_TIMEOUT_SECONDS: Final = 40.0
"""The API sends at least a comment every ten seconds."""
_MAX_PAUSE_SECONDS: Final = 10.0


def follow_runs(
    api: Api, *, config_id: int | None, exchange: str | None, sleep: Callable[[float], None] = time.sleep
) -> Iterator[dict[str, Any]]:
    """Starts and ends of runs as rows of the run log, without an id. It ends only by an exception: `Refused`."""
    query = {"kind": "run", "config_id": config_id, "exchange": exchange}
    wanted = {name: str(value) for name, value in query.items() if value is not None}
    position, pause = "", 0.5
    while True:
        try:
            for event in _stream(api, wanted, position):
                pause = 0.5
                position = event.id or position
                if event.event == "run":
                    yield _as_row(event.json())
                elif event.event == "reset":
                    print_message("Some runs are missing here; `candlekeep logs list` shows them.")
        except (httpx.HTTPError, SSEError, Unreachable) as error:
            print_message(f"The event stream was interrupted; connecting again: {error}")
            sleep(pause)
            pause = min(pause * 2, _MAX_PAUSE_SECONDS)


def _stream(api: Api, query: dict[str, str], position: str) -> Iterator[Any]:
    headers = {"Last-Event-ID": position} if position else {}
    timeout = httpx.Timeout(_READ_TIMEOUT_SECONDS)
    with connect_sse(api.http, "GET", "/events", params=query, headers=headers, timeout=timeout) as source:
        if source.response.status_code != HTTPStatus.OK:
            source.response.read()
            require_success(source.response)
            raise Unreachable(explanation(source.response))
        yield from source.iter_sse()


def _as_row(event: dict[str, Any]) -> dict[str, Any]:
    """A run event with the field names of the run log."""
    names = ("run_id", "config_id", "exchange", "symbol", "trigger", "scheduled_for", "started_at")
    return {name: event[name] for name in names} | {
        "status": event.get("status", "running"),
        "finished_at": event.get("finished_at"),
        "records_collected": event.get("records_collected", 0),
        "error_class": event.get("error_class"),
        "error_message": event.get("error_message"),
    }
