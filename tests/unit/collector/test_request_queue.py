"""The order of requests, for any arrivals. The model counts units, and does not know the rules of the queue."""

from collections import deque
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.exchange.request_queue import RequestQueue
from runtime.consumers.work_class import WorkClass

SCHEDULED, REQUESTED, BACKGROUND = WorkClass

Request = tuple[int, WorkClass, float]
"""A number, the class and the units."""

UNITS = st.sampled_from([0.5, 1.0, 2.0, 10.0])
ARRIVALS = st.tuples(st.sampled_from(WorkClass), UNITS)
SHARES = st.floats(0.01, 1.0)


class Exchange:
    """Sends one request at a time. It checks the order by class."""

    def __init__(self, share: float) -> None:
        self.queue, self.numbers = RequestQueue[Request](share), count()
        self.waiting: dict[WorkClass, deque[Request]] = {each: deque() for each in WorkClass}

    def arrive(self, work_class: WorkClass, units: float) -> None:
        request = next(self.numbers), work_class, units
        self.waiting[work_class].append(request)
        self.queue.add(request, work_class, units)

    def send(self) -> Request | None:
        request = self.queue.take()
        if request is None:
            assert not any(self.waiting.values()), "a request waits although the exchange is free"
            return None
        assert request == self.waiting[request[1]].popleft(), "a class is served in order of arrival"
        self.queue.count_sent(request[1], request[2])
        assert len(self.queue) == sum(map(len, self.waiting.values()))
        return request

    @property
    def live_waits(self) -> bool:
        return bool(self.waiting[SCHEDULED] or self.waiting[REQUESTED])


@given(SHARES, st.lists(ARRIVALS | st.none(), max_size=120))
def test_while_live_requests_wait_background_requests_never_exceed_their_share(
    share: float, steps: list[tuple[WorkClass, float] | None]
) -> None:
    """None: the exchange is free for a request. At the end it sends everything, so no request is forgotten."""
    exchange, live, background = Exchange(share), 0.0, 0.0
    for step in [*steps, *[None] * len(steps)]:
        if step is not None:
            exchange.arrive(*step)
            continue
        both_wait = exchange.live_waits and bool(exchange.waiting[BACKGROUND])
        request = exchange.send()
        if request is None or not both_wait:
            live, background = 0.0, 0.0
        elif request[1] is BACKGROUND:
            background += request[2]
            assert background <= share * (background + live) + 1e-6
        else:
            live += request[2]
    assert not len(exchange.queue)


@given(SHARES, UNITS, UNITS, st.sampled_from([SCHEDULED, REQUESTED]))
def test_neither_kind_starves_while_the_other_never_stops(
    share: float, live_units: float, background_units: float, live: WorkClass
) -> None:
    exchange, sent, turns = Exchange(share), {live: 0.0, BACKGROUND: 0.0}, 0
    for _ in range(2):
        exchange.arrive(live, live_units)
        exchange.arrive(BACKGROUND, background_units)
    while sent[BACKGROUND] < 5 * background_units:
        request = exchange.send()
        assert request is not None
        sent[request[1]] += request[2]
        exchange.arrive(request[1], request[2])
        turns += 1
        needed = 5 * background_units * (1 - share) / share / live_units  # live requests for five background requests
        assert turns <= needed + 5 + 7, "a background request waits longer than its share demands"
    assert sent[live] >= 5 * live_units, "a live request is sent before each background request"


@pytest.mark.parametrize(("share", "expected"), [(0.2, 100), (0.5, 250), (1.0, 250)])
def test_background_requests_get_their_whole_share(share: float, expected: int) -> None:
    exchange = Exchange(share)
    for _ in range(500):
        for work_class in WorkClass:
            exchange.arrive(work_class, 1.0)
    sent = [exchange.send() for _ in range(500)]
    classes = [request[1] for request in sent if request is not None]
    assert classes.count(BACKGROUND) == expected
    assert abs(classes.count(SCHEDULED) - classes.count(REQUESTED)) <= 1


def test_background_requests_get_everything_while_no_other_waits_and_have_no_debt_later() -> None:
    exchange = Exchange(0.25)
    for _ in range(20):
        exchange.arrive(BACKGROUND, 1.0)
    assert [request[1] for _ in range(10) if (request := exchange.send()) is not None] == [BACKGROUND] * 10
    for _ in range(6):
        exchange.arrive(SCHEDULED, 1.0)
    order = [request[1] for _ in range(8) if (request := exchange.send()) is not None]
    assert order == [*[SCHEDULED] * 3, BACKGROUND, *[SCHEDULED] * 3, BACKGROUND]


def test_a_request_that_was_discarded_is_not_sent() -> None:
    queue = RequestQueue[str](0.2)
    for name in ("a", "b"):
        queue.add(name, SCHEDULED, 1.0)
    queue.discard("a", SCHEDULED)
    queue.discard("unknown", BACKGROUND)
    assert (queue.take(), queue.take()) == ("b", None)
