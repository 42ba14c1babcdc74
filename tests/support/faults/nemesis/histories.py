"""Histories of simulated markets for a nemesis test: new listings, silences, and quiet markets. A pure function."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from contracts.coverage import to_instant

_SHARE = 0.3
"""The share of the markets that have a history."""
_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000


def plan_histories(seed: int, markets: Sequence[tuple[str, str]], start_ms: int) -> Iterator[Mapping[str, Any]]:
    """The requests for the simulator's histories. `start_ms`: the time at which the test starts."""
    chooser = random.Random(seed)
    for exchange, symbol in markets:
        if chooser.random() < _SHARE:
            facts = chooser.choice(_FACTS)(chooser, start_ms)
            yield {"exchange": exchange, "symbol": symbol, **facts}


def _new_listing(chooser: random.Random, start_ms: int) -> dict[str, Any]:
    return {"listed": _text(start_ms - chooser.randint(5, 300) * _MINUTE_MS)}


def _long_silence(chooser: random.Random, start_ms: int) -> dict[str, Any]:
    """It ends some minutes before or after the start of the test."""
    end = start_ms + chooser.randint(-10, 4) * _MINUTE_MS
    silence = [_text(end - 40 * _HOUR_MS), _text(end)]
    return {"silences": [silence], "fills": chooser.random() < 0.3}


def _quiet_market(chooser: random.Random, _start_ms: int) -> dict[str, Any]:
    return {"silent_share": chooser.choice((0.3, 0.6, 0.9)), "fills": False}


_FACTS: tuple[Callable[[random.Random, int], dict[str, Any]], ...] = (_new_listing, _long_silence, _quiet_market)


def _text(milliseconds: int) -> str:
    return to_instant(milliseconds).isoformat()
