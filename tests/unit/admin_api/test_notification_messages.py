"""The texts of notifications."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from admin_api.coverage.next_losses import SeriesLoss
from admin_api.notifications.advice import FAILURES
from admin_api.notifications.decisions import MessageKind, Notice, Step
from admin_api.notifications.messages import LONGEST_EXAMPLE, MOST_SINGLE, Message, Texts, example_of
from admin_api.notifications.problems import Cause, Group, Problem, cause_of
from admin_api.notifications.queries import at_risk
from admin_api.receivers.sending import MessageType
from admin_api.receivers.settings import ProblemKind
from contracts.vocabulary import ErrorClass

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
TEXTS = Texts(ZoneInfo("Europe/Berlin"), "https://candles.example.com")


def a_step(
    kind: MessageKind | None = MessageKind.OPENED,
    cause: Cause | None = None,
    *,
    exchange: str = "binance",
    waited: bool = False,
    since: datetime = NOON - timedelta(minutes=65),
) -> Step:
    group = Group(exchange, cause or Cause(ProblemKind.FAILED_RUNS, "banned"))
    problem = Problem(group=group, since=since, size=3, total=5, example="BTC/USDT (config 7): HTTP 418")
    notice = Notice(problem=problem, first_seen=NOON - timedelta(minutes=60), last_seen=NOON)
    return Step(group, notice, kind, None, waited)


def messages(*steps: Step) -> list[Message]:
    found = TEXTS.of(steps, NOON)
    assert sorted(step for _, reported in found for step in reported) == sorted(steps)
    return [message for message, _ in found]


def test_a_message_says_what_happened_since_when_and_what_to_do() -> None:
    (message,) = messages(a_step())
    assert message.title == "Candlekeep: binance: runs fail (banned), 3 of 5 configs"
    assert message.type is MessageType.WARNING
    assert message.body.splitlines() == [
        "The last run of 3 of 5 configs of binance failed: the exchange has banned our address (banned).",
        "Since 2026-03-04 11:55 CET, for 1 h 5 min.",
        "Example: BTC/USDT (config 7): HTTP 418",
        f"What to do: {FAILURES[ErrorClass.BANNED][1]}",
        "Details: https://candles.example.com/runs?status=failed&exchange=binance",
    ]


@pytest.mark.parametrize(
    ("kind", "cause", "title"),
    [
        (MessageKind.REPEATED, Cause(ProblemKind.STUCK_RUNS), "Candlekeep: still: binance: 3 runs stuck"),
        (MessageKind.OPENED, Cause(ProblemKind.NO_RUNS), "Candlekeep: binance: no runs, 3 of 5 configs"),
        (
            MessageKind.OPENED,
            Cause(ProblemKind.CANDLES_AT_RISK),
            "Candlekeep: binance: candles of 3 series will be lost",
        ),
        (
            MessageKind.RESOLVED,
            Cause(ProblemKind.FAILED_RUNS, "timeout"),
            "Candlekeep: resolved: binance: runs fail (timeout), 3 of 5 configs",
        ),
        (MessageKind.PASSED, Cause(ProblemKind.STUCK_RUNS), "Candlekeep: already over: binance: 3 runs stuck"),
    ],
)
def test_the_title_names_the_exchange_the_cause_and_the_state(kind: MessageKind, cause: Cause, title: str) -> None:
    (message,) = messages(a_step(kind, cause))
    assert message.title == title
    over = kind in {MessageKind.RESOLVED, MessageKind.PASSED}
    assert ("What to do:" in message.body) is not over
    assert ("It is over." in message.body) is over
    assert (message.type is MessageType.SUCCESS) is over


def test_the_end_of_a_risk_does_not_claim_that_the_candles_were_read() -> None:
    (message,) = messages(a_step(MessageKind.RESOLVED, Cause(ProblemKind.CANDLES_AT_RISK)))
    assert "Either they were read, or they are lost" in message.body


def test_a_message_about_a_loss_has_its_time_and_is_a_failure() -> None:
    (message,) = messages(a_step(cause=Cause(ProblemKind.CANDLES_AT_RISK), since=NOON + timedelta(hours=1)))
    assert "The first are lost forever at 2026-03-04 14:00 CET." in message.body
    assert message.type is MessageType.FAILURE


def test_messages_that_quiet_hours_held_back_become_one_summary() -> None:
    timeouts = a_step(cause=Cause(ProblemKind.FAILED_RUNS, "timeout"))
    waited = [a_step(waited=True), a_step(MessageKind.PASSED, exchange="kraken", waited=True)]
    single, summary = messages(*waited, timeouts)
    assert single.title == "Candlekeep: binance: runs fail (timeout), 3 of 5 configs"
    assert summary.title == "Candlekeep: 1 problem and 1 over"
    assert summary.body.splitlines() == [
        "The quiet hours held these messages back:",
        "- binance: runs fail (banned), 3 of 5 configs. Since 2026-03-04 11:55 CET, for 1 h 5 min.",
        "- already over: kraken: runs fail (banned), 3 of 5 configs. Last seen at 2026-03-04 13:00 CET.",
        "Details: https://candles.example.com/",
    ]


def test_one_message_that_waited_is_no_summary() -> None:
    (message,) = messages(a_step(waited=True))
    assert message.title == "Candlekeep: binance: runs fail (banned), 3 of 5 configs"


def test_very_many_problems_are_one_message_of_a_limited_length() -> None:
    steps = [a_step(exchange=f"exchange{number}") for number in range(100)]
    assert len(messages(*steps[:MOST_SINGLE])) == MOST_SINGLE
    (message,) = messages(*steps)
    assert message.title == "Candlekeep: 100 problems"
    assert "- and 88 more" in message.body
    assert "quiet hours" not in message.body
    assert len(message.body) < 2000


def test_steps_without_a_message_have_no_text() -> None:
    assert TEXTS.of([a_step(kind=None)], NOON) == []


def test_without_the_address_of_the_dashboard_there_are_no_links() -> None:
    ((message, _),) = Texts(ZoneInfo("UTC"), "").of([a_step()], NOON)
    assert "http" not in message.body


def test_a_text_of_an_exchange_cannot_mention_people_or_make_links() -> None:
    text = example_of(
        "BTC/USDT", "config 7", "<!channel> @here [x](https://evil.example)\n\x1b[31mred\u202e" + "x" * 500
    )
    assert not set("<>@[]`\n\x1b\u202e") & set(text)
    assert "//" not in text
    assert len(text) == LONGEST_EXAMPLE


def test_every_error_class_of_failed_runs_has_advice() -> None:
    of_skipped_runs = {ErrorClass.ALREADY_RUNNING, ErrorClass.SUPERSEDED}
    assert set(FAILURES) == set(ErrorClass) - of_skipped_runs


@pytest.mark.parametrize("cause", [Cause(ProblemKind.FAILED_RUNS, "banned"), Cause(ProblemKind.NO_RUNS)])
def test_a_cause_can_be_stored(cause: Cause) -> None:
    assert cause_of(cause.text) == cause
    assert cause_of("a_kind_of_a_later_release:x") is None


def test_only_losses_at_risk_are_problems_and_one_per_exchange() -> None:
    def a_loss(exchange: str, hours: int, *, risk: bool) -> SeriesLoss:
        at = NOON + timedelta(hours=hours)
        values = {"start": at, "end": at, "lost_at": at, "text": "the hole begins to be lost", "at_risk": risk}
        return SeriesLoss.model_construct(exchange=exchange, symbol="BTC/USD", timeframe="1m", **values)

    losses = [a_loss("kraken", 1, risk=True), a_loss("kraken", 2, risk=True), a_loss("okx", 9, risk=False)]
    (found,) = at_risk(losses)
    assert (found.group.exchange, found.size, found.since) == ("kraken", 2, NOON + timedelta(hours=1))
    assert found.example.startswith("BTC/USD (1m): the hole")
