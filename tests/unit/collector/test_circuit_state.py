"""What is believed of an exchange after what its requests came to."""

from hypothesis import given
from hypothesis import strategies as st

from collector.exchange.circuit_state import CLOSED, CircuitState, ProbePolicy, after_answer, after_failure
from collector.exchange.failures import ExchangeFailure
from contracts.vocabulary import ErrorClass, ExchangeState

POLICY = ProbePolicy(first=2.0, longest=60.0, strikes=3)
NOW = 1000.0


def failure(error_class: ErrorClass, retry_after: float | None = None) -> ExchangeFailure:
    return ExchangeFailure(error_class, f"binance: {error_class}", retryable=True, retry_after=retry_after)


def after(
    health: CircuitState, error_class: ErrorClass, retry_after: float | None = None, **how: object
) -> CircuitState:
    values = {"asked_under": health, "now": NOW, "policy": POLICY} | how
    return after_failure(health, failure(error_class, retry_after), **values)  # type: ignore[arg-type]


def test_a_refusal_names_the_state_and_its_end() -> None:
    throttled = after(CLOSED, ErrorClass.RATE_LIMITED, 7)
    banned = after(CLOSED, ErrorClass.BANNED, 120)
    closed = after(CLOSED, ErrorClass.MAINTENANCE)
    assert (throttled.state, throttled.until) == (ExchangeState.THROTTLED, NOW + 7)
    assert (banned.state, banned.until) == (ExchangeState.BANNED, NOW + 120)
    assert (closed.state, closed.until) == (ExchangeState.MAINTENANCE, NOW + 2)
    assert after(CLOSED, ErrorClass.BANNED).until == NOW + 60


def test_probes_that_fail_grow_rarer_and_one_answer_ends_it() -> None:
    health, waits = after(CLOSED, ErrorClass.MAINTENANCE), []
    for _ in range(7):
        health = after(health, ErrorClass.MAINTENANCE)
        waits.append(health.until - NOW)
    assert waits == [4, 8, 16, 32, 60, 60, 60]
    assert after_answer(health, health) is CLOSED


def test_several_requests_in_a_row_without_an_answer_make_it_unreachable() -> None:
    health = CLOSED
    for error_class in (ErrorClass.NETWORK, ErrorClass.TIMEOUT):
        health = after(health, error_class)
        assert health.state is ExchangeState.OK
    assert after(health, ErrorClass.UNAVAILABLE).state is ExchangeState.UNREACHABLE
    assert after_answer(health, CLOSED) is CLOSED
    assert after(health, ErrorClass.BAD_SYMBOL) is CLOSED
    assert after(CLOSED, ErrorClass.UNAVAILABLE, 30).until == NOW + 30


def test_what_was_asked_before_a_ban_neither_lifts_nor_shortens_it() -> None:
    banned = after(CLOSED, ErrorClass.BANNED, 120)
    assert after_answer(banned, CLOSED) is banned
    assert after(banned, ErrorClass.BAD_SYMBOL, asked_under=CLOSED) is banned
    assert after(banned, ErrorClass.NETWORK, asked_under=CLOSED) is banned
    assert after(banned, ErrorClass.BAD_RESPONSE, asked_under=CLOSED) is banned
    assert after(banned, ErrorClass.RATE_LIMITED, 2, asked_under=CLOSED) is banned
    assert after(banned, ErrorClass.RATE_LIMITED, 121, asked_under=CLOSED).until == NOW + 121


def test_an_answer_from_an_exchange_thought_unreachable_counts_whenever_it_was_asked_for() -> None:
    unreachable = after(CircuitState(failures=2), ErrorClass.TIMEOUT)
    assert unreachable.state is ExchangeState.UNREACHABLE
    assert after_answer(unreachable, CLOSED) is CLOSED


def test_a_probe_that_meets_something_else_changes_the_state() -> None:
    banned = after(CLOSED, ErrorClass.BANNED, 120)
    assert after(banned, ErrorClass.MAINTENANCE).state is ExchangeState.MAINTENANCE
    assert after(banned, ErrorClass.TIMEOUT).state is ExchangeState.UNREACHABLE
    assert after(banned, ErrorClass.BAD_RESPONSE).state is ExchangeState.BANNED
    assert after(banned, ErrorClass.BAD_REQUEST) is CLOSED


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ErrorClass), st.none() | st.floats(0, 1e6), st.booleans(), st.floats(0, 100), st.booleans()
        ),
        max_size=30,
    )
)
def test_no_request_is_let_through_before_any_told_end_whatever_else_is_heard(
    heard: list[tuple[ErrorClass, float | None, bool, float, bool]],
) -> None:
    health, now, told = CLOSED, NOW, 0.0
    for error_class, retry_after, answered, passed, late in heard:
        now += passed
        under = CLOSED if late else health
        if under is not CLOSED and (health.state is not ExchangeState.OK and now < health.until):
            continue  # the gate lets nobody through
        if answered:
            health = after_answer(health, under)
        else:
            health = after(health, error_class, retry_after, asked_under=under, now=now)
            told = told if retry_after is None else max(told, now + retry_after)
        if now < told:
            assert health.state is not ExchangeState.OK
            assert health.until >= told
