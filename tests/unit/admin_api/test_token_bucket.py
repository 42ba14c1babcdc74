import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.auth.client_addresses import address_of, rate_limit_key
from admin_api.http.request_cost import TokenBuckets

NOW = 5_000.0


def after(seconds: float) -> float:
    return NOW + seconds


def test_a_bucket_allows_its_capacity_at_once_and_then_refills_at_the_rate() -> None:
    buckets = TokenBuckets(capacity=3, per_minute=6)
    assert [buckets.take("a", NOW) for _ in range(5)] == [True, True, True, False, False]
    assert buckets.seconds_until_one("a", NOW) == 10
    assert buckets.seconds_until_one("a", after(4)) == 6
    assert not buckets.take("a", after(9.9))
    assert buckets.take("a", after(10))
    assert not buckets.take("a", after(10))


def test_each_key_has_its_own_bucket_and_reading_takes_no_token() -> None:
    buckets = TokenBuckets(capacity=1, per_minute=1)
    assert buckets.take("a", NOW)
    assert [buckets.seconds_until_one("b", NOW) for _ in range(9)] == [0] * 9
    assert buckets.take("b", NOW)


def test_several_tokens_are_taken_together_or_not_at_all() -> None:
    buckets = TokenBuckets(capacity=3, per_minute=6)
    assert buckets.take("a", NOW, 2)
    assert not buckets.take("a", NOW, 2)
    assert (buckets.left("a", NOW), buckets.seconds_until("a", NOW, 2)) == (1, 10)
    assert buckets.take("a", after(10), 2)


def test_more_than_the_capacity_can_be_taken_only_from_a_full_bucket() -> None:
    buckets = TokenBuckets(capacity=3, per_minute=6)
    assert buckets.take("a", NOW)
    assert not buckets.take("a", NOW, 5)
    assert buckets.seconds_until("a", NOW, 5) == 10
    assert buckets.take("a", after(10), 5)
    assert (buckets.left("a", after(10)), buckets.seconds_until_one("a", after(10))) == (0, 30)
    assert not buckets.take("a", after(39))
    assert buckets.take("a", after(40))


def test_a_returned_token_can_be_taken_again_up_to_the_capacity() -> None:
    buckets = TokenBuckets(capacity=1, per_minute=1)
    assert buckets.take("a", NOW)
    buckets.give_back("a", NOW)
    buckets.give_back("a", NOW)
    assert [buckets.take("a", NOW) for _ in range(2)] == [True, False]


def test_an_earlier_clock_reading_does_not_refill_a_bucket_twice() -> None:
    buckets = TokenBuckets(capacity=2, per_minute=60)
    assert buckets.take("a", NOW)
    assert buckets.take("a", after(-10))
    assert not buckets.take("a", NOW)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=60))
def test_no_key_takes_more_than_the_capacity_and_the_refill(steps: list[tuple[str, float]]) -> None:
    buckets, clock = TokenBuckets(capacity=4, per_minute=30), 0.0
    taken: dict[str, int] = {}
    for key, pause in steps:
        clock += pause
        taken[key] = taken.get(key, 0) + buckets.take(key, after(clock))
    assert all(count <= 4 + clock / 2 + 1e-6 for count in taken.values())


def test_the_number_of_keys_is_bounded_and_the_latest_key_is_kept() -> None:
    buckets = TokenBuckets(capacity=1, per_minute=1, max_keys=100)
    for number in range(1000):
        buckets.take(str(number), NOW)
    assert len(buckets) == 100
    assert not buckets.take("999", NOW)


def test_all_addresses_of_an_ipv6_subscriber_have_the_same_key() -> None:
    assert rate_limit_key("2001:db8:1:2:3::4") == rate_limit_key("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert rate_limit_key("2001:db8:1:3::1") != rate_limit_key("2001:db8:1:2::1")
    assert rate_limit_key("::ffff:192.0.2.1") == "192.0.2.1" == rate_limit_key("192.0.2.1")
    assert rate_limit_key(None) == "unknown"


@pytest.mark.parametrize("zone", ["eth0", "<script>", "x" * 10_000, "\0", "\ud800"])
def test_the_zone_of_an_address_is_cut(zone: str) -> None:
    assert address_of({"type": "http", "client": (f"fe80::1%{zone}", 5)}) == "fe80::1"
    assert address_of({"type": "http", "client": (f"192.0.2.1%{zone}", 5)}) == "192.0.2.1"


def test_a_client_without_an_ip_address_has_no_address() -> None:
    assert address_of({"type": "http", "client": ("192.0.2.1", 5)}) == "192.0.2.1"
    for client in (None, ("", 0), ("unix:", 0), ("<script>", 1)):
        assert address_of({"type": "http", "client": client}) is None
