"""GET /incidents: the silence of all symbols of an exchange is one incident."""

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from contracts.coverage import to_milliseconds
from contracts.spans import Interval, subtract
from support.shared_data import shared_file
from support.stored_ledgers import AbsentSpan, at, iso, store_ledger, store_series

pytestmark = pytest.mark.postgres

MINUTE = 60_000


async def store_silences(
    api: AdminApi, life: Interval, silences: Mapping[str, Sequence[AbsentSpan]], exchange: str = "binance"
) -> None:
    """For each symbol: its absences; the rest of its life is verified."""
    for symbol, absent in silences.items():
        series = await store_series(api.engine, life[0], life[1] - MINUTE, exchange=exchange, symbol=symbol)
        verified = subtract([life], [(each.start, each.end) for each in absent])
        await store_ledger(api.engine, series, verified, absent)


def recorded_windows() -> list[Interval]:
    """The whole minutes of the recorded outages of Binance."""
    with (shared_file("data/outages") / "binance-spot-2017-2019.csv").open() as file:
        edges = [
            [
                to_milliseconds(datetime.fromisoformat(each))
                for each in (row["last_open_before"], row["first_open_after"])
            ]
            for row in csv.DictReader(file)
        ]
    return [((last // MINUTE + 1) * MINUTE, first // MINUTE * MINUTE) for last, first in edges]


@pytest.mark.parametrize("kind", ["outage", "unknown"])
async def test_each_recorded_outage_is_one_incident(api: AdminApi, client: httpx.AsyncClient, kind: str) -> None:
    """Without a witness, the class stays unknown. A quiet hour of one symbol is no incident."""
    windows = recorded_windows()
    life = (to_milliseconds(datetime(2017, 8, 1, tzinfo=UTC)), to_milliseconds(datetime(2019, 12, 1, tzinfo=UTC)))
    quiet = windows[0][0] - 600 * MINUTE
    silences = {f"S{number}/USDT": [AbsentSpan(*each, kind) for each in windows] for number in range(12)}
    silences["S1/USDT"].append(AbsentSpan(quiet, quiet + 60 * MINUTE, "unknown"))
    await store_silences(api, life, silences)
    seen = await all_pages(client, {"exchange": "binance", "start": iso(life[0]), "end": iso(life[1]), "limit": 5})
    assert [(each["start"], each["end"]) for each in seen] == [(iso(start), iso(end)) for start, end in windows]
    assert {(each["symbols"], each["absence_class"], len(each["pieces"])) for each in seen} == {(12, kind, 1)}
    assert seen[0]["examples"] == sorted(silences)


async def all_pages(client: httpx.AsyncClient, params: dict[str, Any]) -> list[dict[str, Any]]:
    response = await client.get("/incidents", params=params)
    assert response.status_code == 200, response.text
    seen: list[dict[str, Any]] = response.json()
    while (following := response.links.get("next")) is not None:
        response = await client.get(f"http://api{following['url']}")
        assert response.status_code == 200, response.text
        seen += response.json()
    return seen


async def test_an_incident_ends_where_a_symbol_has_candles_and_its_pieces_have_classes(
    api: AdminApi, client: httpx.AsyncClient
) -> None:
    """Symbols become silent one after another. A witness of one symbol speaks about the exchange."""
    silences = {
        "A/USDT": [AbsentSpan(at(0), at(10), "unknown"), AbsentSpan(at(10), at(20), "outage")],
        "B/USDT": [AbsentSpan(at(2), at(20), "unproven")],
        "C/USDT": [AbsentSpan(at(4), at(21), "no_trade"), AbsentSpan(at(30), at(31), "unknown")],
    }
    await store_silences(api, (at(-10), at(60)), silences)
    await store_silences(api, (at(-10), at(60)), {"A/USDT": []}, exchange="okx")
    asked = {"exchange": "binance", "start": iso(at(-5)), "end": iso(at(50))}
    [found] = (await client.get("/incidents", params=asked)).json()
    assert (found["start"], found["end"], found["symbols"]) == (iso(at(4)), iso(at(20)), 3)
    assert found["absence_class"] == "unknown"
    pieces = [(each["start"], each["end"], each["absence_class"]) for each in found["pieces"]]
    assert pieces == [(iso(at(4)), iso(at(10)), "unknown"), (iso(at(10)), iso(at(20)), "outage")]
    assert (await client.get("/incidents", params=asked | {"min_symbols": 4})).json() == []
    assert (await client.get("/incidents", params=asked | {"exchange": "okx"})).json() == []


async def test_the_proof_of_a_witness_is_shown(api: AdminApi, client: httpx.AsyncClient) -> None:
    silences = {f"{name}/USDT": [AbsentSpan(at(0), at(5), "outage")] for name in "ABC"}
    await store_silences(api, (at(-5), at(10)), silences)
    async with api.engine.begin() as connection:
        await connection.execute(sa.text("""UPDATE absences SET level = 6, proof = '[{"kind": "witness"}]'"""))
    [found] = (await client.get("/incidents", params={"exchange": "binance", "end": iso(at(60))})).json()
    [piece] = found["pieces"]
    assert (piece["level"], piece["proof"]) == (6, [{"kind": "witness"}])


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": iso(at(1)), "end": iso(at(0))},
        {"start": "2010-01-01T00:00:00Z"},
        {"cursor": "abc"},
        {"min_symbols": 2},
        {"unheard": "of"},
    ],
)
async def test_bad_parameters_are_refused(client: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    response = await client.get("/incidents", params={"exchange": "binance"} | wrong)
    assert response.status_code == 422
