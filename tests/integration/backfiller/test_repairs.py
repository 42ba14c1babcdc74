"""A thousand gaps of four exchanges: how many requests their repair needs, and whether dry runs foretell the number."""

import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.app import build_api
from admin_api.settings import AdminApiSettings
from contracts.coverage import to_milliseconds
from contracts.spans import Intervals, subtract
from runtime.settings import KafkaSettings
from support.api import TOKEN, client_of
from support.backfilling.repairing import Repairing, fewest_requests, page_of, repairing, symbols
from support.backfilling.tables import store_config
from support.polling import eventually
from support.stored_ledgers import MINUTE, iso, store_ledger, store_series
from support.writers import query

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(1300)]

SEED: Final = 20_261_127
SERIES: Final = {"binance": 18, "coinbase": 16, "okx": 12, "kraken": 4}
GAPS: Final = 20
"""Gaps of each series."""
MINUTES: Final = {"binance": 6_000, "coinbase": 1_200, "okx": 1_200, "kraken": 700}
"""How far back the gaps of an exchange are. Kraken keeps the newest 720 candles of a market."""
YOUNGEST: Final = 30
"""The gaps are older than this number of minutes."""
HISTORY: Final = 720
"""Minutes of earlier history."""
WITHIN: Final = 400
"""Seconds for each part. The rate limits of the exchanges alone take ten."""

_OPEN: Final = "SELECT count(*) FROM coverage, unnest(tstzmultirange(range_merge(verified)) - verified)"
_ORDER: Final = "SELECT loss_at FROM backfill_chunks WHERE exchange = 'kraken' ORDER BY requested_at, loss_at"
_ABSENT: Final = "SELECT DISTINCT exchange, absence_class FROM absences JOIN series ON series.id = series_id"

Gaps = Mapping[tuple[str, str], Intervals]


def made_gaps(now: int) -> Gaps:
    """Gaps of one to three minutes. The oldest gap of each series of Kraken has another distance to the horizon."""
    made = random.Random(SEED)
    gaps: dict[tuple[str, str], Intervals] = {}
    for exchange, count in SERIES.items():
        oldest = made.sample(range(count), count)
        for number, symbol in enumerate(symbols(exchange, count)):
            starts = made.sample(range(YOUNGEST, MINUTES[exchange] - 80, 4), GAPS - 1)
            starts.append(MINUTES[exchange] - 4 * oldest[number])
            gaps[exchange, symbol] = tuple(
                (now - start * MINUTE, now - (start - made.randint(1, 3)) * MINUTE)
                for start in sorted(starts, reverse=True)
            )
    return gaps


def first_known(exchange: str, now: int) -> int:
    return now - (MINUTES[exchange] + 10) * MINUTE


async def store(engine: AsyncEngine, gaps: Gaps, now: int) -> None:
    """Series that are verified but for their gaps, each with a config that wants no earlier history."""
    for (exchange, symbol), holes in gaps.items():
        names = {"exchange": exchange, "symbol": symbol}
        series_id = await store_series(engine, **names)
        await store_ledger(engine, series_id, subtract([(first_known(exchange, now), now)], holes))
        await store_config(engine, **names)


@contextlib.asynccontextmanager
async def an_api(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The API without Kafka."""
    settings = AdminApiSettings(
        database_url=SecretStr(database_url),
        kafka_bootstrap_servers="127.0.0.1:1",
        candlekeep_admin_token=SecretStr(TOKEN),
    )
    api = build_api(settings)
    try:
        async with client_of(api) as client:
            yield client
    finally:
        await api.close()


async def promised(client: httpx.AsyncClient, bodies: Mapping[str, dict[str, Any]]) -> dict[str, int]:
    """The requests that a dry run promises, by exchange."""
    answers = {name: await client.post("/backfills", json=body | {"dry_run": True}) for name, body in bodies.items()}
    assert {each.status_code for each in answers.values()} == {200}
    return {name: each.json()["estimate"]["requests"] for name, each in answers.items()}


def bodies(mode: str, ranges: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, Any]]:
    """Bodies of POST /backfills, by exchange."""
    return {
        exchange: {"select": {"exchange": exchange}, "mode": mode, "start": iso(start), "end": iso(end)}
        for exchange, (start, end) in ranges.items()
    }


async def counted(system: Repairing) -> dict[str, int]:
    """The requests for candles so far, by exchange."""
    return {name: len(await system.requests(name)) for name in SERIES}


def fewest_by_exchange(gaps: Gaps) -> dict[str, int]:
    """The smallest numbers of requests that contain all gaps, by exchange."""
    fewest = dict.fromkeys(SERIES, 0)
    for (exchange, _), holes in gaps.items():
        fewest[exchange] += fewest_requests(holes, page_of(exchange))
    return fewest


def assert_close(promised: Mapping[str, int], needed: Mapping[str, int]) -> None:
    wrong = {
        name: (promised[name], count) for name, count in needed.items() if abs(promised[name] - count) > count / 10
    }
    assert not wrong, f"the dry run promised other numbers of requests than were needed: {wrong}"


async def no_gap_is_open(database_url: str) -> bool:
    [(count,)] = await query(database_url, _OPEN)
    assert count == 0, f"{count} gaps are open"
    return True


async def collected(client: httpx.AsyncClient, orders: Mapping[str, dict[str, Any]]) -> None:
    """Order the backfills, and wait until each is whole."""
    answers = [await client.post("/backfills", json=body) for body in orders.values()]
    assert {each.status_code for each in answers} == {201}

    async def whole() -> bool:
        for answer in answers:
            progress = (await client.get(f"/backfills/{answer.json()['id']}")).json()["progress"]
            assert progress["is_whole"], progress
        return True

    await eventually(whole, within=WITHIN, every=0.5)


async def test_repairs_and_backfills_need_few_requests_and_dry_runs_foretell_them(
    kafka_settings: KafkaSettings, database_url: str, login_url: Callable[[str], str], engine: AsyncEngine
) -> None:
    now = to_milliseconds(datetime.now(UTC).replace(second=0, microsecond=0))
    gaps = made_gaps(now)
    assert sum(map(len, gaps.values())) == 1_000
    await store(engine, gaps, now)
    first = {name: first_known(name, now) for name in SERIES}
    repairs = bodies("missing", {name: (first[name], now) for name in SERIES})
    history = bodies("missing", {name: (first[name] - HISTORY * MINUTE, first[name]) for name in SERIES})
    again = bodies("all", dict.fromkeys(SERIES, (now - 500 * MINUTE, now)))
    patient = kafka_settings.model_copy(update={"kafka_session_timeout_ms": 30_000})
    async with an_api(database_url) as client:
        promises = [await promised(client, each) for each in (repairs, history, again)]
        async with repairing(patient, login_url) as system:
            await eventually(lambda: no_gap_is_open(database_url), within=WITHIN, every=0.2)
            needed = [await counted(system)]
            losses = await query(database_url, _ORDER)
            absent = await query(database_url, _ABSENT)
            for orders in (history, again):
                await collected(client, orders)
                needed.append(await counted(system))
            absent_later = await query(database_url, _ABSENT)
    needed[1:] = [{name: after[name] - before[name] for name in SERIES} for before, after in pairwise(needed)]
    fewest = fewest_by_exchange(gaps)
    assert sum(needed[0].values()) <= 1.3 * sum(fewest.values()), (needed[0], fewest)
    assert losses == sorted(losses), "the chunks that are lost first were not requested first"
    assert absent == []
    assert absent_later == [("kraken", "beyond_horizon")]
    for promise, count in zip(promises, needed, strict=True):
        assert_close(promise, count)
