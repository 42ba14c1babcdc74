"""The pauses between two comparisons of the progress of backfills."""

import time
from collections.abc import Collection
from typing import Any, cast

import pytest

from backfiller.progress import ProgressAnnouncer


@pytest.mark.parametrize(("seconds", "pause"), [(0.1, 1.0), (1.0, 10.0), (9.0, 15.0), (60.0, 15.0)])
async def test_a_slow_comparison_delays_the_next_one_by_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float, pause: float
) -> None:
    now, compared_at = 1000.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    announcer = ProgressAnnouncer(cast("Any", None), cast("Any", None))

    async def compare(changed: Collection[int], *, compares_all: bool) -> frozenset[int]:
        nonlocal now
        compared_at.append(now)
        now += seconds
        return frozenset({1})

    monkeypatch.setattr(announcer, "_announce", compare)
    await announcer.announce()
    ended = now
    now = ended + pause - 0.01
    await announcer.announce()
    assert len(compared_at) == 1
    now = ended + pause + 0.01
    await announcer.announce()
    assert len(compared_at) == 2
