"""Exchanges send valid replies that prove less than they seem to, each market in its own way, all at the same time.

At first, all exchanges lag by an hour. So the runs that meet the odd replies have an hour to read.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.coverage import to_instant
from local_stack.keeper import KeptKafka
from support.faults import series_rules
from support.faults.evidence import Evidence
from support.faults.history import now
from support.faults.system import MARKETS, RunningSystem, running_system
from support.faults.violations import Kind
from support.polling import eventually
from support.whole_system import system_options

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(400)]
SEED = 20_261_127
MARKETS_USED = 25
ODD_SECONDS = 70
LAG_MINUTES = 60
COLLECTED_WITHIN = 20
PAGES: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("okx", "BTC/USDT"): {"window_candles": 3},
    ("okx", "ETH/USDT"): {"max_rows": 2, "repeat_borders": True},
    ("okx", "SOL/USDT"): {"lag_minutes": 3, "lag_partial": True},
    ("okx", "XRP/USDT"): {"lag_minutes": 15},
    ("okx", "DOGE/USDT"): {"late_minutes": 3, "late_share": 0.5},
    ("bybit", "BTC/USDT"): {"since": "ignored", "max_rows": 4},
    ("bybit", "ETH/USDT"): {"since": "exclusive", "max_rows": 3},
    ("bybit", "SOL/USDT"): {"horizon": 30},
    ("bybit", "XRP/USDT"): {"files": True, "order": "shuffled"},
    ("bybit", "DOGE/USDT"): {"newest_rows": True, "max_rows": 3, "order": "reversed"},
    ("binance", "BTC/USDT"): {"impossible": "mixed", "impossible_share": 0.1},
    ("binance", "ETH/USDT"): {"impossible": "open_below_low", "impossible_share": 0.3, "max_rows": 10},
    ("kraken", "BTC/USD"): {"lag_minutes": 5, "impossible": "zeros", "impossible_share": 0.1},
    ("kraken", "ETH/USD"): {"since": "ignored", "overlap": 2, "order": "shuffled"},
}
"""The page mood of a market."""
NARROW = (("bybit", "BTC/USDT"), ("bybit", "DOGE/USDT"))
"""They send the newest rows, so the hour stays an open hole while the moods last. BTC/USDT ignores the requested time.
DOGE/USDT is read backwards in pages of three rows, of which two runs may read only `FEW_PAGES` each.
"""
FEW_PAGES = {"MAX_PAGES_PER_TIMEFRAME": "8"}
REPLIES: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("binance", "XRP/USDT"): {"kind": "no_candles"},
    ("binance", "DOGE/USDT"): {"kind": "refusal"},
    ("kraken", "SOL/USD"): {"kind": "refusal"},
}
"""The other mood of a market."""
HIDDEN = ("binance", "SOL/USDT")
"""Its newest candles are hidden, and later ones are sent."""
ONE_MINUTE, ONE_HOUR = 60, 3600
SILENCES: Mapping[tuple[str, str], tuple[int, int]] = {
    ("coinbase", "BTC/USD"): (-40 * ONE_HOUR, -5 * ONE_MINUTE),
    ("coinbase", "ETH/USD"): (-40 * ONE_HOUR, -30 * ONE_MINUTE),
    ("kraken", "XRP/USD"): (-40 * ONE_HOUR, -2 * ONE_MINUTE),
}
"""The silence of a market, without flat candles, in seconds from the start of the test. The first runs do not see its
end, because the exchanges lag.
"""


async def test_odd_exchanges_hide_no_candle_and_all_that_they_offer_is_collected_later(
    kafka: KeptKafka, database_url: str, tmp_path: Path
) -> None:
    options = system_options(kafka, database_url, tmp_path)
    options = replace(options, overrides={**options.overrides, "collector": FEW_PAGES})
    async with running_system(options, seed=SEED) as system:
        await set_histories(system)
        await system.mood("page", page={"lag_minutes": LAG_MINUTES})
        await system.create(MARKETS_USED)
        await eventually(lambda: first_runs_have_ended(system), within=60, every=1)
        await system.mood("ok")
        await set_moods(system)
        await asyncio.sleep(ODD_SECONDS)
        await all_moods_were_applied(system)
        judge_during_moods(await system.evidence(now()))
        await system.mood("ok")
        system.rules = replace(system.rules, healthy_since=now(), collected_within=COLLECTED_WITHIN)
        await asyncio.sleep(ONE_MINUTE + COLLECTED_WITHIN)
        evidence = await system.judge()
    assert evidence.ledger.keys() == {(*market, "1m") for market in MARKETS[:MARKETS_USED]}
    assert behind(evidence) == {}


async def set_moods(system: RunningSystem) -> None:
    for (exchange, symbol), page in PAGES.items():
        await system.mood("page", exchange=exchange, symbol=symbol, page=page)
    for (exchange, symbol), mood in REPLIES.items():
        await system.mood(**mood, exchange=exchange, symbol=symbol, candles=True)
    hidden = [time_text(-3 * ONE_MINUTE), time_text(ONE_MINUTE / 2)]
    await system.mood("page", exchange=HIDDEN[0], symbol=HIDDEN[1], page={"hidden": [hidden]})


async def set_histories(system: RunningSystem) -> None:
    for (exchange, symbol), (start, end) in SILENCES.items():
        silence = [time_text(start), time_text(end)]
        await system.set_history({"exchange": exchange, "symbol": symbol, "fills": False, "silences": [silence]})
    new = {"exchange": "coinbase", "symbol": "SOL/USD", "listed": time_text(-2 * ONE_HOUR), "silent_share": 0.5}
    await system.set_history(new)


def time_text(seconds: float) -> str:
    """The time so many seconds from now."""
    return to_instant(round((now() + seconds) * 1000)).isoformat()


async def all_moods_were_applied(system: RunningSystem) -> None:
    async with httpx.AsyncClient(base_url=system.stack.simulator_url or "", timeout=60) as simulator:
        moods = (await simulator.get("/control/moods")).json()
    assert len(moods) == len(PAGES) + len(REPLIES) + 1
    assert [mood for mood in moods if not mood["met"]] == [], "moods that no request has met"


def judge_during_moods(evidence: Evidence) -> None:
    """The ledger claims nothing wrong. It has open holes and rejected rows, or the test would prove nothing."""
    claims = [*series_rules.candles(evidence), *series_rules.ledger(evidence), *series_rules.rejected_rows(evidence)]
    # An exchange that lags may send a candle before it is final, which the next runs correct.
    wrong = [f"{each.kind} of {each.subject}: {each.details}" for each in claims if each.kind is not Kind.CANDLE_WRONG]
    assert not wrong, "\n".join(wrong)
    for market in NARROW:
        assert len(evidence.ledger[*market, "1m"].verified) > 1, f"{market} has no open hole"
    for market, page in PAGES.items():
        if "impossible" in page:
            assert evidence.ledger[*market, "1m"].rejected, f"no row of {market} was rejected"
    assert behind(evidence).keys().isdisjoint(NARROW)


async def first_runs_have_ended(system: RunningSystem) -> bool:
    evidence = await system.schedule_evidence(now())
    ended = {run.config_id for run in evidence.runs if run.status != "running"}
    assert ended == {*system.config_ids}, f"{len(ended)} configs have had a run"
    return True


def behind(evidence: Evidence) -> dict[tuple[str, str], int]:
    """The markets with offered candles that are older than three minutes and newer than all verified time."""
    old = round((evidence.until - 3 * ONE_MINUTE) * 1000)
    newer = {
        name[:2]: sum(known.verified[-1][1] <= at < old for at in evidence.truth[name].offered)
        for name, known in evidence.ledger.items()
    }
    return {market: count for market, count in newer.items() if count}
