from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from collector.exchange.clock import ExchangeClock


@dataclass
class World:
    """The true time and our clocks: the wall clock is wrong by `error` seconds, the monotonic one has any offset."""

    true: float = 1_791_282_309.25
    error: float = 0.0

    def clock(self) -> ExchangeClock:
        return ExchangeClock(lambda: self.true + self.error, lambda: self.true - 1_790_000_000)

    def respond(self, clock: ExchangeClock, latency: float) -> None:
        date = float(int(self.true))
        self.true += latency
        clock.observe(date)


def test_a_wall_clock_that_is_hours_ahead_does_not_make_a_fetch_the_newest_one_for_hours() -> None:
    world = World(error=23.5 * 3600)
    clock = world.clock()
    assert clock.fetch_time().timestamp() == world.true + world.error, "nothing shows that the clock is wrong"
    world.respond(clock, 0.1)
    assert abs(clock.fetch_time().timestamp() - world.true) <= 601
    world.error = 2.0
    assert clock.fetch_time().timestamp() == world.true + 2.0


def test_without_a_date_our_own_clock_is_used() -> None:
    world = World(error=3.0)
    assert world.clock().now() == world.true + 3.0


@given(st.floats(-500, 1e6), st.lists(st.tuples(st.floats(0, 30), st.floats(0.001, 2)), min_size=1, max_size=30))
def test_the_estimate_is_never_ahead_of_the_exchange(error: float, responses: list[tuple[float, float]]) -> None:
    world = World(error=error)
    clock = world.clock()
    for pause, latency in responses:
        world.true += pause
        world.respond(clock, latency)
        assert clock.now() <= world.true + 1e-3
        assert clock.now() >= world.true - 1.0 - latency - 5.0


def test_many_responses_give_a_precise_estimate() -> None:
    world = World(error=100.0)
    clock = world.clock()
    for _ in range(40):
        world.true += 0.37
        world.respond(clock, 0.02)
    assert world.true - 0.1 < clock.now() <= world.true
    assert -100.1 < clock.skew() <= -100.0


def test_a_correction_of_our_wall_clock_has_no_effect() -> None:
    world = World()
    clock = world.clock()
    world.respond(clock, 0.1)
    before = clock.now()
    world.error = 30.0
    assert clock.now() == before


def test_a_date_far_ahead_of_our_clock_is_ignored() -> None:
    world = World(error=-7200.0)
    clock = world.clock()
    world.respond(clock, 0.1)
    assert clock.now() == world.true - 7200.0


def test_an_exchange_clock_that_is_set_back_is_accepted() -> None:
    world = World(error=0.0)
    clock = world.clock()
    world.respond(clock, 0.1)
    clock.observe(world.true - 3600)
    assert clock.now() <= world.true - 3600 + 1e-3


def test_a_date_of_the_exchange_confirms_the_time_of_a_request() -> None:
    world = World(error=1.0)
    clock = world.clock()
    assert not clock.confirms(clock.now_ms()), "no date has arrived yet"
    world.respond(clock, 0.1)
    assert clock.confirms(clock.now_ms())


def test_no_time_is_confirmed_while_our_wall_clock_is_far_behind() -> None:
    world = World()
    clock = world.clock()
    world.respond(clock, 0.1)
    world.error = -3600.0
    assert not clock.confirms(clock.now_ms()), "the earlier dates contradict the wall clock"
    world.respond(clock, 0.1)
    assert not clock.confirms(clock.now_ms())
    world.error = 0.0
    world.respond(clock, 0.1)
    assert clock.confirms(clock.now_ms())


def test_a_request_before_which_the_computer_was_suspended_is_not_confirmed() -> None:
    """The monotonic clock does not count the suspension, so the estimate stays behind until the next date."""
    world = World()
    suspended = 0.0
    clock = ExchangeClock(lambda: world.true, lambda: world.true - suspended)
    world.respond(clock, 0.1)
    world.true += 7200
    suspended = 7200.0
    sent = clock.now_ms()
    world.respond(clock, 0.1)
    assert not clock.confirms(sent)
    assert clock.confirms(clock.now_ms())
