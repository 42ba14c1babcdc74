"""Silence of all symbols, from the live runs during it to the evidence after it. The exchanges are simulated."""

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from admin_api.incidents.grouping import Grouped, Silence, incidents_in
from collector.run.collector import Collector
from collector.run.outcomes import Outcomes
from collector.run.run import Due, Run
from contracts.candles import CandlesCollected
from contracts.coverage import Absence, AbsenceClass, EvidenceKind
from contracts.event import Event
from contracts.ranges import Purpose
from contracts.runs import RunFinished
from contracts.topics import Topic
from contracts.vocabulary import RunStatus
from support.collecting import QUICK, Exchanges, Simulator, a_range, a_tick

NOON = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


@dataclass
class Published:
    """Keeps the events instead of Kafka."""

    events: list[Event] = field(default_factory=list)

    async def publish(self, _topic: Topic, event: Event) -> None:
        self.events.append(event)

    async def publish_many(self, _topic: Topic, events: Iterable[Event]) -> None:
        self.events += events


class Lab:
    """One collector, and the clock of the exchanges."""

    def __init__(self, simulator: Simulator, exchanges_at: Callable[..., Exchanges]) -> None:
        self._simulator, self._now = simulator, NOON.timestamp()
        # With a clock that never advances, every request would wait for the turns of all requests before it.
        exchanges = exchanges_at(simulator.base, now=lambda: self._now, monotonic=lambda: self._now + time.monotonic())
        self._published, self._chunks = Published(), itertools.count(1)
        self._collector = Collector(
            clients=exchanges.clients,
            publisher=self._published,  # type: ignore[arg-type]
            outcomes=Outcomes(self._published, exchanges.metrics, "here:1"),  # type: ignore[arg-type]
            metrics=exchanges.metrics,
            policy=QUICK,
        )

    async def set_clock(self, minutes: float) -> None:
        self._now = at(minutes).timestamp()
        await self._simulator.freeze_clock(int(self._now * 1000))

    async def collect(self, due: Due) -> list[Absence]:
        """The absences that the run publishes."""
        await self._collector.collect(Run(due, datetime.now(UTC)))
        [finished] = [each for each in self._published.events if isinstance(each, RunFinished)]
        assert finished.status is RunStatus.SUCCESS, finished.error_message
        found = [
            each for event in self._published.events if isinstance(event, CandlesCollected) for each in event.absences
        ]
        self._published.events.clear()
        return found

    async def evidence(self, exchange: str, symbol: str, start: datetime, end: datetime) -> list[Absence]:
        values = {"exchange": exchange, "symbol": symbol, "purpose": Purpose.EVIDENCE, "deadline_seconds": 90}
        return await self.collect(a_range(start, end, chunk_id=next(self._chunks), **values))


@pytest.fixture
async def lab(simulator: Simulator, exchanges_at: Callable[..., Exchanges]) -> Lab:
    return Lab(simulator, exchanges_at)


async def after_an_outage(lab: Lab, simulator: Simulator, exchange: str) -> dict[str, list[Absence]]:
    """No symbol is traded from noon to 12:20. Live runs come at 12:05 and 12:12, and the evidence at 12:40."""
    await simulator.set_history(exchange, fills=False, silences=[[at(0).isoformat(), at(20).isoformat()]])
    for minutes in (5.5, 12.5):
        await lab.set_clock(minutes)
        await lab.collect(a_tick(exchange=exchange, symbol=SYMBOLS[0], collected_until=at(-1)))
    await simulator.clear_moods()
    await lab.set_clock(40)
    return {symbol: await lab.evidence(exchange, symbol, at(-1), at(21)) for symbol in SYMBOLS}


def incidents_of(found: dict[str, list[Absence]]) -> list[Grouped]:
    """As `GET /incidents` groups them."""
    silences = [
        Silence(each.start, each.end, each.absence_class, each.level, 1, (symbol,))
        for symbol, absences in found.items()
        for each in absences
    ]
    return incidents_in(at(-5), at(30), silences)


async def test_an_outage_with_a_witness_is_one_incident_of_all_symbols(lab: Lab, simulator: Simulator) -> None:
    """The live runs see that no candle comes, and request the status. The evidence has both statements."""
    closed = '{"status": 1, "msg": "system maintenance"}'
    await simulator.add_mood("error", exchange="binance", path="system/status", status=200, body=closed)
    found = await after_an_outage(lab, simulator, "binance")
    for absences in found.values():
        [outage] = [each for each in absences if each.absence_class is AbsenceClass.OUTAGE]
        assert (outage.start, outage.end, outage.level) == (at(6), at(12), 6)
        assert {each.kind for each in outage.proof} == {EvidenceKind.WITNESS}
    [incident] = incidents_of(found)
    assert (incident.start, incident.end, incident.symbols) == (at(0), at(20), len(SYMBOLS))
    pieces = [(each.start, each.end) for each in incident.pieces if each.absence_class is AbsenceClass.OUTAGE]
    assert pieces == [(at(6), at(12))]


@pytest.mark.parametrize("exchange", ["okx", "binance"])
async def test_an_outage_without_a_witness_is_an_unknown_incident(
    exchange: str, lab: Lab, simulator: Simulator
) -> None:
    """Binance says that it works. Its trade ids prove that no symbol was traded, which is no outage yet."""
    found = await after_an_outage(lab, simulator, exchange)
    expected = AbsenceClass.UNKNOWN if exchange == "okx" else AbsenceClass.NO_TRADE
    for absences in found.values():
        assert [(each.start, each.end, each.absence_class) for each in absences] == [(at(0), at(20), expected)]
    [incident] = incidents_of(found)
    assert (incident.start, incident.end, incident.absence_class) == (at(0), at(20), AbsenceClass.UNKNOWN)


@pytest.mark.parametrize("exchange", ["okx", "binance"])
async def test_61_days_of_empty_answers_in_which_the_exchange_traded_are_no_outage_and_not_tradeless(
    exchange: str, lab: Lab, simulator: Simulator
) -> None:
    """All symbols and timeframes, and each question twice. Only Binance still sends its trades."""
    await simulator.set_history(exchange, fills=False)
    day = 1440
    await simulator.add_mood(
        "page", exchange=exchange, page={"hidden": [[at(-62 * day).isoformat(), at(-day).isoformat()]]}
    )
    await lab.set_clock(0.5)
    lost = AbsenceClass.UNKNOWN if exchange == "okx" else AbsenceClass.LOST_AT_SOURCE
    for symbol, days in itertools.product(SYMBOLS[:2], (-62, -62, -30, -1.05, -1.05)):
        start, end = at(days * day), at(days * day + 30)
        found = await lab.evidence(exchange, symbol, start, end)
        assert [(each.start, each.end, each.absence_class) for each in found] == [(start, end, lost)]
