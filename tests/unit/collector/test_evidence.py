"""Classes of absence: never no_trade where there was a trade, never an outage while the exchange traded."""

import csv
import random
from bisect import bisect_left
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.evidence import decide
from collector.evidence.decide import Answer, CoarserCandle, Finding, Gathered, Tape, findings, to_absence
from collector.evidence.incidents import FEWEST_SYMBOLS, Incident, Piece, Statement, Witness, incidents
from collector.evidence.sources import Amounts, Trade, silent_beside_coarser_candle, silent_between_trades
from contracts.coverage import MINIMUM_LEVELS, AbsenceClass, EvidenceKind, to_instant, to_milliseconds
from contracts.spans import Interval, Intervals, intersect, subtract, union
from support.depth import tries
from support.made_exchange import (
    ASKED_AT,
    MINUTE,
    MINUTE_CALENDAR,
    START,
    MadeExchange,
    a_made_exchange,
    minute,
    some_evidence,
)
from support.shared_data import shared_file

DAY = 1440 * MINUTE
EMPTY = Answer((), some_evidence(EvidenceKind.ANSWER))


def wrongly_called(exchange: MadeExchange, symbol: str, found: list[Finding]) -> list[Finding]:
    """The findings that the truth refutes."""
    return [each for each in found if any(not _fits(exchange, symbol, each, number) for number in _minutes(each))]


def _fits(exchange: MadeExchange, symbol: str, finding: Finding, number: int) -> bool:
    match finding.absence_class:
        case AbsenceClass.NO_TRADE:
            return number not in exchange.traded(symbol)
        case AbsenceClass.OUTAGE:
            return number in exchange.halted
        case AbsenceClass.LOST_AT_SOURCE:
            return any(number in exchange.traded(each) for each in exchange.trades)
        case _:
            return finding.absence_class is AbsenceClass.UNKNOWN


def _minutes(finding: Finding) -> range:
    return range((finding.span[0] - START) // MINUTE, (finding.span[1] - START) // MINUTE)


def play(seeds: range) -> tuple[Counter[str], list[Finding]]:
    """The minutes by class, and the findings that are wrong."""
    called: Counter[str] = Counter()
    wrong: list[Finding] = []
    for seed in seeds:
        rng = random.Random(seed)
        exchange = a_made_exchange(rng)
        for symbol in exchange.trades:
            gathered = exchange.gathered(symbol, empty_answers=rng.choice((1, 2, 50)))
            for hole in exchange.silent(symbol):
                found = findings(hole, gathered, MINUTE_CALENDAR)
                assert union(each.span for each in found) == (hole,)
                assert sum(each.span[1] - each.span[0] for each in found) == hole[1] - hole[0]
                for each in found:
                    assert each.level >= MINIMUM_LEVELS[each.absence_class]
                    called[each.absence_class.value] += len(_minutes(each))
                wrong += wrongly_called(exchange, symbol, found)
    return called, wrong


@pytest.mark.deep
def test_no_stretch_of_made_histories_is_called_tradeless_or_an_outage_against_the_truth() -> None:
    called, wrong = play(range(tries(150, deep=3_000)))
    assert wrong == []
    assert min(called[kind] for kind in ("no_trade", "outage", "lost_at_source", "unknown")) > 200, called


@pytest.mark.parametrize("rule", ["others", "jumps", "sums", "witness", "silences"])
def test_the_made_histories_find_each_missing_rule(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def every_gap(hole: Interval, trades: tuple[Trade, ...], _: object) -> Intervals:
        return subtract([hole], [(each.at // MINUTE * MINUTE, each.at // MINUTE * MINUTE + MINUTE) for each in trades])

    def every_bucket(hole: Interval, _: object, bucket: Interval, *__: object) -> Intervals:
        return intersect([hole], [bucket])

    def silence_of_all(hole: Interval, gathered: Gathered, _: object) -> list[Finding]:
        spans = intersect([hole], [each.span for each in gathered.incidents])
        return [Finding(each, AbsenceClass.OUTAGE, 6, ()) for each in spans] + [
            Finding(each, AbsenceClass.UNKNOWN, 0, ()) for each in subtract([hole], spans)
        ]

    def repeated(hole: Interval, *_: object) -> list[Finding]:
        return [Finding(hole, AbsenceClass.NO_TRADE, 3, ())]

    match rule:
        case "others":
            monkeypatch.setattr(decide, "_while_others_traded", lambda silent, _: silent)
        case "jumps":
            monkeypatch.setattr(decide, "silent_between_trades", every_gap)
        case "sums":
            monkeypatch.setattr(decide, "silent_beside_coarser_candle", every_bucket)
        case "witness":
            monkeypatch.setitem(globals(), "findings", silence_of_all)
        case _:
            monkeypatch.setitem(globals(), "findings", repeated)
    assert play(range(100))[1], "the made histories do not notice it"


# ---- single sources ----


@given(repetitions=st.integers(0, 200), level=st.integers(1, 2), omits=st.booleans())
def test_empty_answers_prove_nothing_however_often_they_come(repetitions: int, level: int, omits: bool) -> None:
    answers = [Answer((), some_evidence(EvidenceKind.ANSWER, level)) for _ in range(repetitions)]
    [found] = findings((START, minute(9)), Gathered(omits=omits, answers=answers), MINUTE_CALENDAR)
    assert (found.absence_class, found.level) == (AbsenceClass.UNKNOWN, level if repetitions else 0)


@pytest.mark.parametrize(
    ("coarser", "finer", "proved"),
    [
        ((0.3, None), [(0.1, None), (0.2, None)], True),  # 0.1 + 0.2 != 0.3 as floats
        ((0.30000001, None), [(0.1, None), (0.2, None)], False),
        ((0.3, 2), [(0.1, 1), (0.2, 1)], True),
        ((0.3, 3), [(0.1, 1), (0.2, 1)], False),
        ((0.3, 2), [(0.1, None), (0.2, 1)], True),
        ((0.0, 0), [], False),  # an invented flat row
        ((1 / 3 + 1 / 7, None), [(1 / 3, None), (1 / 7, None)], True),
        ((123456789.12345678, None), [(123456789.12345677, None)], True),  # more digits than a float keeps
        ((1 / 3 + 1e-9, None), [(1 / 3, None)], False),
        ((float("nan"), None), [], False),
    ],
)
def test_a_coarser_candle_proves_silence_if_the_finer_ones_sum_to_it(
    coarser: tuple[float, int | None], finer: list[tuple[float, int | None]], proved: bool
) -> None:
    rows = [Amounts(minute(number), *each) for number, each in enumerate(finer)]
    bucket, hole = (START, minute(5)), (minute(2), minute(9))
    silent = silent_beside_coarser_candle(hole, Amounts(START, *coarser), bucket, rows, MINUTE_CALENDAR)
    assert silent == (((minute(2), minute(5)),) if proved else ())


def test_a_coarser_candle_proves_nothing_while_no_other_symbol_has_candles() -> None:
    candle = CoarserCandle(
        Amounts(START, 1.0), (START, minute(5)), (Amounts(START, 1.0),), some_evidence(EvidenceKind.COARSER_CANDLE)
    )
    for others, expected in (((), AbsenceClass.UNKNOWN), (((START, minute(9)),), AbsenceClass.NO_TRADE)):
        [found] = findings((minute(1), minute(5)), Gathered(coarser=[candle], others_traded=others), MINUTE_CALENDAR)
        assert found.absence_class is expected


def test_a_jump_of_ids_is_unknown_until_a_wider_request_has_the_ids_between() -> None:
    hole, evidence = (minute(1), minute(4)), some_evidence(EvidenceKind.TRADE_IDS)
    around = (Trade(7, minute(0)), Trade(9, minute(4)))
    for trades, expected in (
        (around, [AbsenceClass.UNKNOWN]),
        ((*around, Trade(8, minute(4))), [AbsenceClass.NO_TRADE]),
        ((*around, Trade(8, minute(2))), [AbsenceClass.NO_TRADE, AbsenceClass.UNKNOWN, AbsenceClass.NO_TRADE]),
    ):
        found = findings(hole, Gathered(tapes=[Tape(trades, evidence)]), MINUTE_CALENDAR)
        assert [each.absence_class for each in found] == expected


def test_trades_whose_times_contradict_their_ids_shorten_the_silence() -> None:
    tape = [Trade(1, minute(0)), Trade(2, minute(6)), Trade(3, minute(2)), Trade(4, minute(9))]
    assert silent_between_trades((minute(1), minute(9)), tape, MINUTE_CALENDAR) == (
        (minute(1), minute(2)),
        (minute(7), minute(9)),
    )


def test_rows_on_both_sides_are_provisional_and_a_silence_longer_than_others_is_unknown() -> None:
    opens = tuple(minute(each) for each in (0, 2, 4, 6, 20))
    gathered = Gathered(
        omits=True,
        answers=[Answer(opens, some_evidence(EvidenceKind.ANSWER))],
        others_traded=((START, minute(30)),),
    )
    short = findings((minute(1), minute(2)), gathered, MINUTE_CALENDAR)
    assert [(each.absence_class, each.level) for each in short] == [(AbsenceClass.NO_TRADE, 3)]
    assert to_absence(short[0], ASKED_AT).recheck_at == ASKED_AT + timedelta(days=1)
    [long] = findings((minute(7), minute(20)), gathered, MINUTE_CALENDAR)
    assert long.absence_class is AbsenceClass.UNKNOWN


def test_a_proved_absence_has_its_proof_and_no_recheck() -> None:
    tape = Tape((Trade(1, START), Trade(2, minute(5))), some_evidence(EvidenceKind.TRADE_IDS))
    [found] = findings((minute(1), minute(5)), Gathered(answers=[EMPTY], tapes=[tape]), MINUTE_CALENDAR)
    absence = to_absence(found, ASKED_AT)
    assert (absence.absence_class, absence.level, absence.recheck_at) == (AbsenceClass.NO_TRADE, 5, None)
    assert [each.kind for each in absence.proof] == [EvidenceKind.TRADE_IDS]
    assert absence.evidence == "asked: answered"


@pytest.mark.parametrize(("age", "is_checked_again"), [(0, True), (6, True), (7, False), (400, False)])
def test_lost_candles_are_checked_again_for_a_week(age: int, is_checked_again: bool) -> None:
    proof = (some_evidence(EvidenceKind.WITNESS, 7),)
    lost = Finding((START, minute(5)), AbsenceClass.LOST_AT_SOURCE, 7, proof)
    now = to_instant(minute(5)) + timedelta(days=age)
    assert to_absence(lost, now).recheck_at == (now + timedelta(days=1) if is_checked_again else None)


def test_a_symbol_whose_ids_show_no_trade_is_tradeless_while_another_one_was_traded() -> None:
    """The exchange has lost the candles of the other symbol. This one has no candle to lose."""
    hole, evidence = (START, minute(10)), some_evidence(EvidenceKind.WITNESS, 7)
    lost = Incident(hole, ("S0",), (Piece(hole, AbsenceClass.LOST_AT_SOURCE, (evidence,)),))
    tape = Tape((Trade(1, START - 1), Trade(2, minute(4)), Trade(3, minute(10))), evidence)
    found = findings(hole, Gathered(tapes=[tape], incidents=[lost]), MINUTE_CALENDAR)
    kinds = [AbsenceClass.NO_TRADE, AbsenceClass.LOST_AT_SOURCE, AbsenceClass.NO_TRADE]
    assert [each.absence_class for each in found] == kinds


def test_trades_during_a_stated_closure_refute_it() -> None:
    silences = {f"S{number}": ((START, minute(10)),) for number in range(FEWEST_SYMBOLS)}
    evidence = some_evidence(EvidenceKind.WITNESS)
    witnesses = [
        Witness(Statement.CLOSED, (START, minute(10)), evidence),
        Witness(Statement.TRADED, (minute(4), minute(5)), evidence),
    ]
    [incident] = incidents(silences, witnesses, some_evidence(EvidenceKind.ALL_SYMBOLS))
    kinds = [AbsenceClass.OUTAGE, AbsenceClass.LOST_AT_SOURCE, AbsenceClass.OUTAGE]
    assert [each.absence_class for each in incident.pieces] == kinds
    del silences["S0"]
    assert incidents(silences, witnesses, evidence) == [], "too few symbols"


@pytest.mark.parametrize("absence_class", [AbsenceClass.OUTAGE, AbsenceClass.LOST_AT_SOURCE])
def test_a_proof_below_the_minimum_level_gives_no_class(absence_class: AbsenceClass) -> None:
    hole = (START, minute(10))
    for level, given_class in ((5, AbsenceClass.UNKNOWN), (7, absence_class)):
        piece = Piece(hole, absence_class, (some_evidence(EvidenceKind.WITNESS, level),))
        gathered = Gathered(answers=[EMPTY], incidents=[Incident(hole, ("S0",), (piece,))])
        assert [each.absence_class for each in findings(hole, gathered, MINUTE_CALENDAR)] == [given_class]


# ---- recorded trades and outages ----


def recorded() -> tuple[list[Trade], list[Interval]]:
    """The trades, and the gaps between the candles of the same span."""
    folder = shared_file("data/trades")
    with (folder / "binance-XRPETH-aggtrades-20191011-13.csv").open() as file:
        trades = [Trade(int(row["agg_id"]), int(row["timestamp_ms"])) for row in csv.DictReader(file)]
    with (folder / "binance-XRPETH-1m-from-trades.csv").open() as file:
        opens = [int(row["timestamp_ms"]) for row in csv.DictReader(file)]
    return trades, [(one + MINUTE, two) for one, two in pairwise(opens) if two > one + MINUTE]


def proved_minutes(trades: list[Trade], holes: list[Interval]) -> int:
    """`trades`: ascending. Each hole is judged by the twenty trades before and after it."""
    found: list[Finding] = []
    for hole in holes:
        first, last = (bisect_left(trades, at, key=lambda trade: trade.at) for at in hole)
        tape = Tape(tuple(trades[max(0, first - 20) : last + 20]), some_evidence(EvidenceKind.TRADE_IDS))
        found += findings(hole, Gathered(answers=[EMPTY], tapes=[tape]), MINUTE_CALENDAR)
    assert {each.absence_class for each in found} <= {AbsenceClass.NO_TRADE, AbsenceClass.UNKNOWN}
    proved = [each.span for each in found if each.absence_class is AbsenceClass.NO_TRADE]
    return sum(end - start for start, end in proved) // MINUTE


def test_1091_recorded_minutes_without_candles_are_proved_tradeless() -> None:
    trades, holes = recorded()
    assert (len(holes), proved_minutes(trades, holes)) == (676, 1091)


def test_with_one_id_removed_from_the_recorded_tape_no_minute_around_it_is_proved() -> None:
    trades, holes = recorded()
    for hole in random.Random(7).sample(holes, 200):
        after = bisect_left(trades, hole[0], key=lambda trade: trade.at)
        for removed in (after - 1, after):
            assert proved_minutes([*trades[:removed], *trades[removed + 1 :]], [hole]) == 0


def test_the_recorded_outages_are_one_incident_each_if_a_witness_speaks_and_unknown_otherwise() -> None:
    with (shared_file("data/outages") / "binance-spot-2017-2019.csv").open() as file:
        windows = [_window(row["last_open_before"], row["first_open_after"]) for row in csv.DictReader(file)]
    assert len(windows) == 16
    symbols = [f"S{number}/USDT" for number in range(400)]
    quiet = {symbol: union([*windows, _quiet_hour(number)]) for number, symbol in enumerate(symbols)}
    silence, evidence = some_evidence(EvidenceKind.ALL_SYMBOLS), some_evidence(EvidenceKind.WITNESS)
    for speaks, kind in ((True, AbsenceClass.OUTAGE), (False, AbsenceClass.UNKNOWN)):
        said = [Witness(Statement.CLOSED, each, evidence) for each in windows if speaks]
        found = incidents(quiet, said, silence)
        assert [each.span for each in found] == windows
        assert all(
            len(each.symbols) == 400 and [piece.absence_class for piece in each.pieces] == [kind] for each in found
        )
        for window in windows:
            [finding] = findings(window, Gathered(answers=[EMPTY], incidents=found), MINUTE_CALENDAR)
            assert finding.absence_class is kind


def _window(before: str, after: str) -> Interval:
    """The whole minutes between the candles of one second around the window."""
    last, first = (to_milliseconds(datetime.fromisoformat(each)) for each in (before, after))
    return (last // MINUTE + 1) * MINUTE, first // MINUTE * MINUTE


def _quiet_hour(number: int) -> Interval:
    start = to_milliseconds(datetime(2018, 1, 1, tzinfo=UTC)) + number * 60 * MINUTE
    return start, start + 60 * MINUTE


@pytest.mark.parametrize("with_tape", [False, True])
def test_61_days_of_empty_answers_while_the_exchange_traded_are_no_outage_and_not_tradeless(with_tape: bool) -> None:
    """Bitfinex, April and May 2016: all symbols, in every repetition. Other exchanges traded, which is no witness."""
    start = to_milliseconds(datetime(2016, 4, 1, tzinfo=UTC))
    hole, evidence = (start, start + 61 * DAY), some_evidence(EvidenceKind.WITNESS)
    witnesses = [Witness(Statement.TRADED, hole, evidence)] if with_tape else []
    silences: dict[str, Intervals] = dict.fromkeys(("BTC/USD", "ETH/USD", "LTC/USD"), (hole,))
    flat = CoarserCandle(Amounts(start, 0.0, 0), (start, start + DAY), (), some_evidence(EvidenceKind.COARSER_CANDLE))
    page = Answer((start - 2 * MINUTE, start - MINUTE, hole[1], hole[1] + 2 * MINUTE), EMPTY.evidence)
    gathered = Gathered(
        omits=True,
        answers=[*[EMPTY] * 500, page],
        coarser=[flat],
        incidents=incidents(silences, witnesses, some_evidence(EvidenceKind.ALL_SYMBOLS)),
    )
    expected = AbsenceClass.LOST_AT_SOURCE if with_tape else AbsenceClass.UNKNOWN
    assert [each.absence_class for each in findings(hole, gathered, MINUTE_CALENDAR)] == [expected]
