"""The state of a circuit after responses and failures."""

from hypothesis import given
from hypothesis import strategies as st

from collector.exchange.circuit_transitions import CLOSED, CircuitState, ProbePolicy, after_failure, after_response
from collector.exchange.failures import ExchangeFailure
from contracts.vocabulary import ErrorClass, ExchangeState

POLICY = ProbePolicy(initial_wait=2.0, max_wait=60.0, failure_limit=3)
NOW = 1000.0


def failure(error_class: ErrorClass, retry_after: float | None = None) -> ExchangeFailure:
    return ExchangeFailure(error_class, f"binance: {error_class}", retryable=True, retry_after=retry_after)


def after(
    circuit: CircuitState, error_class: ErrorClass, retry_after: float | None = None, **changes: object
) -> CircuitState:
    values = {"admitted_under": circuit, "now": NOW, "policy": POLICY} | changes
    return after_failure(circuit, failure(error_class, retry_after), **values)  # type: ignore[arg-type]


def test_a_refusal_sets_the_state_and_its_end() -> None:
    throttled = after(CLOSED, ErrorClass.RATE_LIMITED, 7)
    banned = after(CLOSED, ErrorClass.BANNED, 120)
    maintenance = after(CLOSED, ErrorClass.MAINTENANCE)
    assert (throttled.state, throttled.until) == (ExchangeState.THROTTLED, NOW + 7)
    assert (banned.state, banned.until) == (ExchangeState.BANNED, NOW + 120)
    assert (maintenance.state, maintenance.until) == (ExchangeState.MAINTENANCE, NOW + 2)
    assert after(CLOSED, ErrorClass.BANNED).until == NOW + 60


def test_the_wait_doubles_after_each_failed_probe_and_one_response_closes_the_circuit() -> None:
    circuit, waits = after(CLOSED, ErrorClass.MAINTENANCE), []
    for _ in range(7):
        circuit = after(circuit, ErrorClass.MAINTENANCE)
        waits.append(circuit.until - NOW)
    assert waits == [4, 8, 16, 32, 60, 60, 60]
    assert after_response(circuit, circuit) is CLOSED


def test_a_wait_of_zero_does_not_send_probe_after_probe() -> None:
    circuit, waits = after(CLOSED, ErrorClass.RATE_LIMITED, 0), []
    for _ in range(6):
        circuit = after(circuit, ErrorClass.RATE_LIMITED, 0)
        waits.append(circuit.until - NOW)
    assert waits == [4, 8, 16, 32, 60, 60]
    assert after(circuit, ErrorClass.RATE_LIMITED, 7200).until == NOW + 7200


def test_several_blocked_locations_open_the_circuit_with_the_longest_wait_and_a_response_between_does_not() -> None:
    circuit = after(after(CLOSED, ErrorClass.BLOCKED_LOCATION), ErrorClass.BLOCKED_LOCATION)
    assert circuit.state is ExchangeState.OK
    assert after_response(circuit, CLOSED) is CLOSED
    blocked = after(circuit, ErrorClass.BLOCKED_LOCATION)
    assert (blocked.state, blocked.until) == (ExchangeState.UNREACHABLE, NOW + 60)
    assert after(blocked, ErrorClass.BLOCKED_LOCATION).until == NOW + 60


def test_consecutive_requests_without_a_response_make_an_exchange_unreachable() -> None:
    circuit = CLOSED
    for error_class in (ErrorClass.NETWORK, ErrorClass.TIMEOUT):
        circuit = after(circuit, error_class)
        assert circuit.state is ExchangeState.OK
    assert after(circuit, ErrorClass.UNAVAILABLE).state is ExchangeState.UNREACHABLE
    assert after_response(circuit, CLOSED) is CLOSED
    assert after(circuit, ErrorClass.BAD_SYMBOL) is CLOSED
    assert after(CLOSED, ErrorClass.UNAVAILABLE, 30).until == NOW + 30


def test_the_results_of_requests_from_before_a_ban_neither_end_nor_shorten_it() -> None:
    banned = after(CLOSED, ErrorClass.BANNED, 120)
    assert after_response(banned, CLOSED) is banned
    assert after(banned, ErrorClass.BAD_SYMBOL, admitted_under=CLOSED) is banned
    assert after(banned, ErrorClass.NETWORK, admitted_under=CLOSED) is banned
    assert after(banned, ErrorClass.BAD_RESPONSE, admitted_under=CLOSED) is banned
    assert after(banned, ErrorClass.RATE_LIMITED, 2, admitted_under=CLOSED) is banned
    assert after(banned, ErrorClass.RATE_LIMITED, 121, admitted_under=CLOSED).until == NOW + 121


def test_any_response_shows_that_an_exchange_is_not_unreachable() -> None:
    unreachable = after(CircuitState(failures=2), ErrorClass.TIMEOUT)
    assert unreachable.state is ExchangeState.UNREACHABLE
    assert after_response(unreachable, CLOSED) is CLOSED


def test_a_probe_with_another_result_changes_the_state() -> None:
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
def test_no_request_is_admitted_before_the_latest_known_end_in_any_order_of_results(
    results: list[tuple[ErrorClass, float | None, bool, float, bool]],
) -> None:
    circuit, now, known_end = CLOSED, NOW, 0.0
    for error_class, retry_after, succeeded, passed, late in results:
        now += passed
        admitted_under = CLOSED if late else circuit
        if admitted_under is not CLOSED and (circuit.state is not ExchangeState.OK and now < circuit.until):
            continue  # the circuit breaker defers the request
        if succeeded:
            circuit = after_response(circuit, admitted_under)
        else:
            circuit = after(circuit, error_class, retry_after, admitted_under=admitted_under, now=now)
            known_end = known_end if retry_after is None else max(known_end, now + retry_after)
        if now < known_end:
            assert circuit.state is not ExchangeState.OK
            assert circuit.until >= known_end
