from backfiller.limits import DueChunk, LanePlaces, choose, free_places

LANES = {"binance": 2}


def due(lane: str, *ids: int, is_retry: bool = False) -> list[DueChunk]:
    return [DueChunk(each, lane, is_retry) for each in ids]


def places(lane: str, count: int) -> LanePlaces:
    return LanePlaces(lane, lane.partition("#")[0], 1, 0, count)


def test_each_lane_has_places_of_its_own() -> None:
    assert free_places({"binance", "kraken"}, {"binance#0": 3, "kraken": 1}, [], LANES, 3) == [
        LanePlaces("binance#1", "binance", 2, 1, 3),
        LanePlaces("kraken", "kraken", 1, 0, 2),
    ]


def test_a_paused_lane_gets_no_places() -> None:
    assert [each.lane for each in free_places({"binance"}, {}, ["binance#0"], LANES, 3)] == ["binance#1"]


def test_lanes_take_turns_for_the_total() -> None:
    found = [*due("binance", 1, 2, 3), *due("kraken", 7)]
    assert choose(found, [places("binance", 4), places("kraken", 4)], 3) == [1, 7, 2]
    assert choose(found, [places("binance", 4), places("kraken", 4)], -1) == []


def test_new_chunks_and_retries_take_turns() -> None:
    found = [*due("kraken", 1, 2, 3), *due("kraken", 7, 8, 9, is_retry=True)]
    assert choose(found, [places("kraken", 3)], 10) == [1, 7, 2]
    assert choose(due("kraken", 7, 8, 9, is_retry=True), [places("kraken", 2)], 10) == [7, 8]


def test_a_lane_without_places_gets_nothing() -> None:
    assert choose(due("kraken", 1), [places("binance", 4)], 10) == []
