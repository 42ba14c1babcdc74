from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from collector.exchange.clock import ExchangeClock


@dataclass
class World:
    """True time, and our clocks: the wall is wrong by `error` seconds, the monotonic one counts from anywhere."""

    true: float = 1_791_282_309.25
    error: float = 0.0

    def clock(self) -> ExchangeClock:
        return ExchangeClock(lambda: self.true + self.error, lambda: self.true - 1_790_000_000)

    def answer(self, clock: ExchangeClock, latency: float) -> None:
        dated = float(int(self.true))
        self.true += latency
        clock.observe(dated)


def test_without_a_date_our_own_clock_is_taken() -> None:
    world = World(error=3.0)
    assert world.clock().now() == world.true + 3.0


@given(st.floats(-500, 1e6), st.lists(st.tuples(st.floats(0, 30), st.floats(0.001, 2)), min_size=1, max_size=30))
def test_it_never_runs_ahead_of_the_exchange(error: float, answers: list[tuple[float, float]]) -> None:
    world = World(error=error)
    clock = world.clock()
    for pause, latency in answers:
        world.true += pause
        world.answer(clock, latency)
        assert clock.now() <= world.true + 1e-3
        assert clock.now() >= world.true - 1.0 - latency - 5.0


def test_many_answers_lead_close_to_the_truth() -> None:
    world = World(error=100.0)
    clock = world.clock()
    for _ in range(40):
        world.true += 0.37
        world.answer(clock, 0.02)
    assert world.true - 0.1 < clock.now() <= world.true
    assert -100.1 < clock.skew() <= -100.0


def test_a_correction_of_our_wall_clock_changes_nothing() -> None:
    world = World()
    clock = world.clock()
    world.answer(clock, 0.1)
    before = clock.now()
    world.error = 30.0
    assert clock.now() == before


def test_an_exchange_far_ahead_of_us_is_not_believed() -> None:
    world = World(error=-7200.0)
    clock = world.clock()
    world.answer(clock, 0.1)
    assert clock.now() == world.true - 7200.0


def test_an_exchange_clock_that_is_set_back_is_followed() -> None:
    world = World(error=0.0)
    clock = world.clock()
    world.answer(clock, 0.1)
    clock.observe(world.true - 3600)
    assert clock.now() <= world.true - 3600 + 1e-3
