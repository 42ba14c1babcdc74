"""The messages about a problem: grouping in time, the end of a problem, quiet hours, repetition."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.notifications.decisions import MessageKind, Notice, Policy, Step, decide
from admin_api.notifications.problems import Cause, Group, Problem
from admin_api.receivers.quiet_hours import parse
from admin_api.receivers.settings import ProblemKind

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MINUTE, WINDOW, REPEAT = timedelta(minutes=1), timedelta(minutes=2), timedelta(hours=24)
BANNED = Group("binance", Cause(ProblemKind.FAILED_RUNS, "banned"))
TIMEOUT = Group("binance", Cause(ProblemKind.FAILED_RUNS, "timeout"))
SILENT = Group("binance", Cause(ProblemKind.NO_RUNS))
AT_RISK = Group("kraken", Cause(ProblemKind.CANDLES_AT_RISK))


def a_policy(quiet: str = "", *, critical_in_quiet_hours: bool = False) -> Policy:
    return Policy(WINDOW, REPEAT, parse(quiet, UTC), critical_in_quiet_hours)


def a_problem(group: Group = BANNED, size: int = 1, since: datetime = NOON) -> Problem:
    return Problem(group=group, since=since, size=size)


class Receiver:
    """Plays the rounds of one receiver: it keeps the notices and the messages, as the notifier does."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or a_policy()
        self.notices: dict[Group, Notice] = {}
        self.answers = True
        self.got: list[tuple[MessageKind, Group, int]] = []
        self.last_steps: list[Step] = []

    def round(self, now: datetime, *problems: Problem) -> list[MessageKind]:
        """The kinds of the messages of this round."""
        self.last_steps = list(decide(self.notices, problems, now, self.policy))
        before = len(self.got)
        for step in self.last_steps:
            sent = step.message is not None and self.answers
            if step.message is not None and sent:
                self.got.append((step.message, step.group, step.problem.size))
            notice = step.sent if sent else step.waiting
            self.notices.pop(step.group, None)
            if notice is not None:
                self.notices[step.group] = notice
        return [kind for kind, _, _ in self.got[before:]]


def test_a_problem_has_one_message_when_it_has_lasted_and_one_when_it_is_over() -> None:
    receiver = Receiver()
    assert receiver.round(NOON, a_problem()) == []
    assert receiver.round(NOON + MINUTE, a_problem(size=3)) == []
    assert receiver.round(NOON + 2 * MINUTE, a_problem(size=40)) == [MessageKind.OPENED]
    assert receiver.got[-1][2] == 40  # one message has all configs that have failed meanwhile
    assert receiver.round(NOON + 30 * MINUTE, a_problem(size=41)) == []
    assert receiver.round(NOON + 31 * MINUTE) == []
    assert receiver.round(NOON + 32 * MINUTE) == [MessageKind.RESOLVED]
    assert receiver.notices == {}
    assert receiver.round(NOON + 40 * MINUTE) == []


def test_each_exchange_and_cause_has_its_own_message() -> None:
    receiver = Receiver()
    other = Group("kraken", BANNED.cause)
    problems = [a_problem(group) for group in (BANNED, TIMEOUT, other)]
    receiver.round(NOON, *problems)
    receiver.round(NOON + WINDOW, *problems)
    assert {group for _, group, _ in receiver.got} == {BANNED, TIMEOUT, other}
    receiver.round(NOON + 2 * WINDOW, a_problem(TIMEOUT), a_problem(other))
    assert receiver.got[3:] == [(MessageKind.RESOLVED, BANNED, 1)]


def test_a_short_problem_has_no_message() -> None:
    receiver = Receiver()
    receiver.round(NOON, a_problem())
    for minutes in range(1, 10):
        assert receiver.round(NOON + minutes * MINUTE) == []
    assert receiver.notices == {}


def test_a_problem_that_comes_back_soon_was_not_over() -> None:
    receiver = Receiver()
    receiver.round(NOON, a_problem())
    receiver.round(NOON + WINDOW, a_problem())
    for minutes in range(3, 30):  # every other minute it is absent
        receiver.round(NOON + minutes * MINUTE, *([a_problem()] if minutes % 2 else []))
    assert [kind for kind, _, _ in receiver.got] == [MessageKind.OPENED]


def test_a_problem_that_lasts_is_repeated_once_per_interval() -> None:
    receiver = Receiver()
    for hours in range(73):
        receiver.round(NOON + timedelta(hours=hours), a_problem())
    assert [kind for kind, _, _ in receiver.got] == [MessageKind.OPENED, *[MessageKind.REPEATED] * 2]


def test_a_message_that_was_not_accepted_is_asked_for_again_and_only_once() -> None:
    receiver = Receiver()
    receiver.round(NOON, a_problem())
    receiver.answers = False
    for minutes in range(1, 10):
        receiver.round(NOON + minutes * MINUTE, a_problem())
    receiver.answers = True
    assert receiver.round(NOON + 10 * MINUTE, a_problem()) == [MessageKind.OPENED]
    assert receiver.round(NOON + 11 * MINUTE, a_problem()) == []


def test_quiet_hours_hold_a_message_back_until_their_end() -> None:
    receiver = Receiver(a_policy("12:00-13:00"))
    for minutes in range(60):
        assert receiver.round(NOON + minutes * MINUTE, a_problem()) == []
    assert receiver.round(NOON + 60 * MINUTE, a_problem()) == [MessageKind.OPENED]
    assert [step.waited for step in receiver.last_steps] == [True]


def test_a_problem_that_came_and_went_in_quiet_hours_is_reported_afterwards() -> None:
    receiver = Receiver(a_policy("12:00-13:00"))
    for minutes in range(10):
        receiver.round(NOON + minutes * MINUTE, a_problem())
    for minutes in range(10, 60):
        assert receiver.round(NOON + minutes * MINUTE) == []
    assert receiver.round(NOON + 60 * MINUTE) == [MessageKind.PASSED]
    assert receiver.last_steps[0].waited


def test_the_end_of_a_problem_also_waits_for_the_end_of_quiet_hours() -> None:
    receiver = Receiver(a_policy("12:05-13:00"))
    receiver.round(NOON, a_problem())
    assert receiver.round(NOON + WINDOW, a_problem()) == [MessageKind.OPENED]
    for minutes in range(5, 60):
        assert receiver.round(NOON + minutes * MINUTE) == []
    assert receiver.round(NOON + 60 * MINUTE) == [MessageKind.RESOLVED]


def test_a_message_that_only_begins_to_be_due_after_quiet_hours_has_not_waited() -> None:
    receiver = Receiver(a_policy("11:00-12:01"))
    receiver.round(NOON, a_problem())
    assert receiver.round(NOON + WINDOW, a_problem()) == [MessageKind.OPENED]
    assert not receiver.last_steps[0].waited


@pytest.mark.parametrize("group", [SILENT, AT_RISK])
def test_critical_problems_are_sent_in_quiet_hours_if_the_settings_say_so(group: Group) -> None:
    woken = Receiver(a_policy("12:00-13:00", critical_in_quiet_hours=True))
    asleep = Receiver(a_policy("12:00-13:00"))
    for receiver in (woken, asleep):
        for minutes in range(4):
            receiver.round(NOON + minutes * MINUTE, a_problem(group), a_problem(TIMEOUT))
    assert [group for _, group, _ in woken.got] == [group]
    assert asleep.got == []


def test_critical_problems_come_first() -> None:
    receiver = Receiver()
    problems = [a_problem(BANNED), a_problem(AT_RISK), a_problem(SILENT)]
    receiver.round(NOON, *problems)
    receiver.round(NOON + WINDOW, *problems)
    assert [group for _, group, _ in receiver.got] == [SILENT, AT_RISK, BANNED]


def test_a_restart_in_the_middle_of_a_problem_repeats_nothing_and_a_long_stop_still_resolves() -> None:
    receiver = Receiver()
    receiver.round(NOON, a_problem())
    receiver.round(NOON + WINDOW, a_problem())
    assert receiver.round(NOON + timedelta(hours=3), a_problem()) == []
    assert receiver.round(NOON + timedelta(hours=9)) == [MessageKind.RESOLVED]


def test_a_problem_keeps_its_first_time_and_a_loss_has_the_next_one() -> None:
    receiver = Receiver()
    receiver.round(NOON, a_problem(), a_problem(AT_RISK, since=NOON + timedelta(hours=1)))
    receiver.round(
        NOON + MINUTE,
        a_problem(since=NOON + MINUTE),
        a_problem(AT_RISK, since=NOON + timedelta(hours=2)),
    )
    assert receiver.notices[BANNED].problem.since == NOON
    assert receiver.notices[AT_RISK].problem.since == NOON + timedelta(hours=2)


def test_a_clock_that_is_set_back_does_not_end_a_problem() -> None:
    receiver = Receiver()
    receiver.round(NOON, a_problem())
    receiver.round(NOON + WINDOW, a_problem())
    assert receiver.round(NOON - timedelta(hours=1), a_problem()) == []
    assert receiver.notices[BANNED].last_seen == NOON + WINDOW


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200),
    st.sampled_from(["", "12:10-12:40", "12:30-14:00, 14:01-14:20"]),
)
def test_each_opening_has_one_end_whatever_happens(rounds: list[tuple[bool, bool]], quiet: str) -> None:
    """Any pattern of a problem and of a broken receiver: openings and ends take turns, and the last state is true."""
    policy = a_policy(quiet)
    receiver = Receiver(policy)
    now = NOON
    for present, answers in rounds:
        now += MINUTE
        receiver.answers = answers
        kinds = receiver.round(now, *([a_problem()] if present else []))
        assert not kinds or not policy.quiet_hours.contain(now)
        assert len(kinds) <= 1
    receiver.answers, receiver.policy = True, replace_quiet(policy)
    for _ in range(5):
        now += MINUTE
        receiver.round(now)
    kinds = [kind for kind, _, _ in receiver.got if kind is not MessageKind.PASSED]
    assert kinds == [MessageKind.OPENED, MessageKind.RESOLVED] * (len(kinds) // 2)
    assert receiver.notices == {}


def replace_quiet(policy: Policy) -> Policy:
    return policy._replace(quiet_hours=replace(policy.quiet_hours, entries=()))
