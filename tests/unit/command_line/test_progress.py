"""The wait for a backfill: its end, its timeouts, and an API that does not answer meanwhile."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from command_line.client import Api
from command_line.failures import Refused, TimedOut, Unreachable
from command_line.progress import describe, wait_for_backfill
from command_line.settings import Settings


def a_backfill(percent: float | None, state: str = "active", **progress: Any) -> dict[str, Any]:
    facts = {"percent": percent, "is_whole": percent == 100.0, "reached": None, "candles_per_second": None, "eta": None}
    return {"state": state, "progress": facts | progress}


def waited(answers: Iterator[dict[str, Any] | int], seconds: float = 60.0) -> dict[str, Any]:
    times = [0.0]

    def answer(_: httpx.Request) -> httpx.Response:
        found = next(answers)
        return httpx.Response(found) if isinstance(found, int) else httpx.Response(200, json=found)

    def sleep(pause: float) -> None:
        times[0] += max(pause, 0.1)

    with Api(Settings(url="http://api", token="t" * 24), httpx.MockTransport(answer)) as api:
        return wait_for_backfill(api, 1, seconds, clock=lambda: times[0], sleep=sleep)


def test_it_waits_until_the_backfill_is_whole_although_the_api_is_away_meanwhile() -> None:
    assert waited(iter([a_backfill(None), a_backfill(40.0), 503, a_backfill(100.0)]))["progress"]["is_whole"]


def test_it_ends_when_the_backfill_is_cancelled() -> None:
    with pytest.raises(Refused, match="cancelled at 40 %"):
        waited(iter([a_backfill(30.0), a_backfill(40.0, state="cancelled")]))


def test_it_ends_after_the_time() -> None:
    with pytest.raises(TimedOut, match="not whole within 10 s: paused"):
        waited((a_backfill(1.0, state="paused") for _ in iter(int, 1)), seconds=10)
    with pytest.raises(Unreachable):
        waited((503 for _ in iter(int, 1)), seconds=10)


def test_the_progress_is_described_in_words() -> None:
    known = a_backfill(40.0, reached="2026-11-01T00:00:00Z", candles_per_second=1234.5, eta="2026-11-27T13:00:00Z")
    assert describe(known) == "reached 2026-11-01 00:00:00 UTC, 1234 candles/s, whole at 2026-11-27 13:00:00 UTC"
    assert describe(a_backfill(None)) == "nothing is known yet"
