"""Every exchange, kind of market and timeframe of the catalogue against a model that is built from its traits.

`PYTHONPATH=tests python -m support.exchange_scan` writes the result into docs/exchanges.md. `make generate` calls it.
"""

import hashlib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

from typing_extensions import override

from collector.exchange.catalogue.page import PAGE, with_section
from collector.exchange.traits import ExchangeTraits
from collector.exchange.traits_table import traits_of
from contracts.exchange_catalogue import MarketKind, RequestKind, RowOrder, load_catalogue
from contracts.spans import subtract
from contracts.timeframes import parse_timeframe, timeframe_order
from support.coverage_model.histories import History, Step
from support.coverage_model.odd_exchange import Behaviour, Kind, Weather
from support.coverage_model.truth import MINUTE_MS, Trading
from support.coverage_model.world import SETTLE_MS, Rules, World, candles_before

SECTION: Final = "scan"
SILENT_MINUTES: Final = 40 * 60
THE_RULES: Final = Rules()
_MINUTES_BETWEEN_RUNS: Final = 4 * 60
"""During the silence, so that the scan does not take too long."""
_BUSY: Final = 20
"""The number of candles after the start until the silence begins."""

_ANSWERS: Final[Mapping[RequestKind, tuple[Kind, ...]]] = {
    RequestKind.START_ONLY: (Kind.FIRST, Kind.NEWEST_FIRST),
    RequestKind.WINDOW: (Kind.WINDOW,),
    RequestKind.START_TO_NOW: (Kind.TO_NOW, Kind.FIRST, Kind.NEWEST_FIRST),
    RequestKind.NO_SINCE: (Kind.NEWEST,),
    RequestKind.DAY_FILE: (Kind.FILE,),
    RequestKind.END_ONLY: (Kind.END_ONLY,),
}
"""The answers that are possible if the order of the rows is unknown."""


class Scenario(StrEnum):
    FIRST_RUN = "first run"
    FIVE_PAGES = "no run for five pages"
    SILENCE = "40 hours without trades"
    LAG = "answers five minutes old"


@dataclass(frozen=True, order=True)
class Outcome:
    """The state some runs after the event. A later one in the order is worse."""

    lost_percent: int = 0
    """Candles that are not stored and that a run has reported as lost."""
    open_percent: int = 0
    """Candles that are not stored and lie in an open hole."""
    silence_is_open: bool = False
    """Every candle is stored, but a time without candles is not verified."""

    @override
    @override
    def __str__(self) -> str:
        shares = [(self.lost_percent, "lost"), (self.open_percent, "in an open hole")]
        missing = ", ".join(f"{percent} % {state}" for percent, state in shares if percent)
        return missing or ("all; silence open" if self.silence_is_open else "all")


@dataclass(frozen=True)
class Series:
    exchange: str
    kind: MarketKind
    timeframe: str


def series_of(exchange: str) -> Iterator[Series]:
    """Every series whose candles can be collected."""
    traits = traits_of(exchange)
    for kind, by_timeframe in traits.requests.items():
        for timeframe in sorted(by_timeframe, key=timeframe_order):
            if traits.refusal(kind, timeframe) is None:
                yield Series(exchange, kind, timeframe)


def outcome(series: Series, scenario: Scenario, rules: Rules = THE_RULES) -> Outcome:
    """The worst outcome of all behaviours that the traits allow. Raises `Disagreement` if a candle is lost silently."""
    traits = traits_of(series.exchange)
    facts = _Facts(*(getattr(traits, name) for name in _Facts._fields))
    return max(
        _played(behaviour, series.timeframe, facts, scenario, rules)
        for behaviour in behaviours(traits, series.kind, series.timeframe)
    )


def behaviours(traits: ExchangeTraits, kind: MarketKind, timeframe: str) -> Iterator[Behaviour]:
    request = traits.request_kind(kind, timeframe)
    answers = _ANSWERS[request]
    if Kind.FIRST in answers and traits.order is not RowOrder.UNKNOWN:
        answers = (Kind.FIRST,) if traits.order is RowOrder.OLDEST else (Kind.NEWEST_FIRST,)
    for each in answers:
        yield Behaviour(
            kind=each,
            width=traits.page_limit(kind, timeframe),
            honours_until=traits.honours_until(kind),
            horizon=traits.history_candles,
            horizon_by_time=traits.history_by_time,
            whole_days=True,
        )


class _Facts(NamedTuple):
    """The traits that the reader uses. The model does not have the others: its rows are labelled with the open time,
    and its candles are as long as the name of their timeframe says.
    """

    utc_days: bool
    monday_weeks: bool
    exact_page_limit: bool
    history_candles: int | None
    history_by_time: bool


@cache
def _played(behaviour: Behaviour, timeframe: str, facts: _Facts, scenario: Scenario, rules: Rules) -> Outcome:
    history = _history(behaviour, timeframe, scenario)
    world = World.of(history, rules)
    world.traits = ExchangeTraits(**facts._asdict())
    for step in history.steps:
        world.play(step)
    return _state(world, timeframe)


def _state(world: World, timeframe: str) -> Outcome:
    """Raises `AssertionError` if the first run has not stored the newest candle that it could know."""
    truth, ledger = world.exchange.series[timeframe], world.ledgers[timeframe]
    known_from = world.scheduler.known_from.get(timeframe)
    assert known_from is not None, "the first run has collected nothing"
    closed = [at for at in truth.between(known_from, world.now) if truth.close_of(at) <= world.now - SETTLE_MS]
    missing = [at for at in closed if at not in ledger.stored or at in ledger.unfinished]
    lost = [at for at in missing if not subtract([(at, truth.close_of(at))], ledger.lost)]
    anchor = world.scheduler.progress.of(timeframe).anchor
    holes = subtract([(known_from, anchor or known_from)], [*ledger.verified, *ledger.lost])
    return Outcome(_percent(len(lost), len(closed)), _percent(len(missing) - len(lost), len(closed)), bool(holes))


def _percent(part: int, whole: int) -> int:
    return math.ceil(100 * part / whole) if whole else 0


def _history(behaviour: Behaviour, timeframe: str, scenario: Scenario) -> History:
    minutes = parse_timeframe(timeframe).nominal_ms / MINUTE_MS
    usual = max(10, math.ceil(minutes))
    runs = (Step(wait_minutes=usual),) * 3
    history = History(
        behaviour=behaviour,
        timeframes=(timeframe,),
        all_timeframes=(timeframe,),
        page_limit=behaviour.width,
        max_pages=100,
        interval_minutes=usual,
        knows_until=behaviour.honours_until,
        recovers=False,
    )
    match scenario:
        case Scenario.FIRST_RUN:
            return replace(history, steps=(Step(),))
        case Scenario.FIVE_PAGES:
            return replace(history, steps=(Step(), Step(wait_minutes=math.ceil(5 * behaviour.width * minutes)), *runs))
        case Scenario.SILENCE:
            silent = max(1, math.ceil(SILENT_MINUTES / minutes))
            often = max(_MINUTES_BETWEEN_RUNS, math.ceil(minutes))
            count = math.ceil((_BUSY + silent) * minutes / often)
            steps = (Step(), *[Step(wait_minutes=often)] * (count + 2), *runs)
            pattern = ((candles_before(history, timeframe) + _BUSY, silent),)
            return replace(history, tradings=(Trading(pattern=pattern),), steps=steps)
        case Scenario.LAG:
            lag = Step(wait_minutes=usual, weather=Weather(lag_minutes=5))
            return replace(history, steps=(Step(), lag, *runs[:1], lag, *runs))


# ---- the table ----


def table() -> list[str]:
    heading = ("exchange", "series", *Scenario)
    lines = [heading, ["---"] * len(heading), *(row for each in load_catalogue().exchanges for row in rows(each))]
    return [f"| {' | '.join(line)} |" for line in lines]


def rows(exchange: str) -> list[list[str]]:
    """One row for the series of an exchange with the same outcomes."""
    every = list(series_of(exchange))
    groups: dict[tuple[str, ...], list[Series]] = {}
    for series in every:
        groups.setdefault(tuple(str(outcome(series, each)) for each in Scenario), []).append(series)
    return [[f"`{exchange}`", _names(group, every), *outcomes] for outcomes, group in groups.items()]


def _names(group: list[Series], every: list[Series]) -> str:
    if len(group) == len(every):
        return "all"
    names = []
    for kind in MarketKind:
        timeframes = [each.timeframe for each in group if each.kind is kind]
        if timeframes:
            is_whole_kind = len(timeframes) == sum(each.kind is kind for each in every)
            names.append(kind.value if is_whole_kind else f"{kind.value} `{' '.join(timeframes)}`")
    return "; ".join(names)


def fingerprint() -> str:
    """Changes if a fact about an exchange or a request of ccxt changes."""
    facts = "\n".join(f"{each} {_as_text(traits_of(each))}" for each in sorted(load_catalogue().exchanges))
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _as_text(traits: ExchangeTraits) -> str:
    """Without the fields that change no request for candles. The text of a set would have a random order."""
    return repr(replace(traits, sources={}, error_phrases=(), ignores_since=frozenset(), trades_since=frozenset()))


def page_text(page: str) -> str:
    return with_section(page, SECTION, [f"<!-- facts: {fingerprint()} -->", "", *table()])


def is_stale(page: str) -> bool:
    """Whether a fact has changed since the scan that the page shows."""
    return f"<!-- facts: {fingerprint()} -->" not in page


def main() -> None:
    """Scan all exchanges, which takes some minutes, if a fact has changed or if `--always` is given."""
    page = PAGE.read_text(encoding="utf-8")
    if is_stale(page) or "--always" in sys.argv[1:]:
        PAGE.write_text(page_text(page), encoding="utf-8")
        sys.stdout.write(f"wrote the scan to {PAGE}\n")


if __name__ == "__main__":
    main()
