"""How long an exchange requires us to wait, from headers, fields and sentences."""

import email.utils
import json
from datetime import UTC, datetime
from typing import Any

import ccxt
import ccxt.async_support
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.exchange.errors import LONGEST_RETRY_AFTER, translate_error
from collector.exchange.strict_http import LAST_REQUEST, RequestRecord, strict_class
from collector.exchange.waits import date_header, requested_wait, retry_after
from contracts.vocabulary import ErrorClass

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
NOW = NOON.timestamp()
DATE = {"Date": "Mon, 04 May 2026 12:00:00 GMT"}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("1.5", 1.5),
        (" 30 ", 30.0),
        ("+30", 30.0),
        ("-3", 0.0),
        ("0", 0.0),
        ("60000", 60_000.0),
        ("60000ms", 60.0),
        ("30 s", 30.0),
        ("2 minutes", 120.0),
        ("30, 60", 60.0),  # ccxt joins repeated headers
        ("30, soon", 30.0),
        ("1777896120", 120.0),
        ("1777896120.5", 120.5),
        ("1777896120000", 120.0),
        ("1777896120000000", 120.0),
        ("1777896120000000000", 120.0),
        ("1771404540", 0.0),  # an instant in the past
        ("Mon, 04 May 2026 12:02:00 GMT", 120.0),
        ("Mon, 04 May 2026 12:02:00 GMT, Mon, 04 May 2026 12:02:00 GMT", 120.0),
        ("Monday, 04-May-26 12:02:00 GMT", 120.0),
        ("2026-05-04T12:02:00Z", 120.0),
        ("2026-05-04 12:02:00", 120.0),
        ("2026-05-04T14:02:00+02:00", 120.0),
        ("99999999999", None),  # neither a duration nor an instant in any unit
        ("9" * 400, None),
        ("٣٠", None),
        ("\uff13\uff10", None),
        ("1_000", None),
        ("0x1f", None),
        ("²", None),
        ("nan", None),
        ("-inf", None),
        ("1e999", None),
        ("", None),
        ("soon", None),
        ("Mon, 04 May 9999999 12:02:00 GMT", None),
        ("Mon, 99 Foo 2026 12:02:00 GMT", None),
    ],
)
def test_a_retry_after_of_any_form_is_read_or_ignored(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value, **DATE}) == pytest.approx(seconds)
    assert retry_after({"retry-after": value}, NOW) == pytest.approx(seconds)


def test_an_instant_is_counted_from_the_request_if_the_date_of_the_response_is_wrong() -> None:
    for date in ("Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 04 May 2037 12:00:00 GMT", "yesterday"):
        assert retry_after({"Retry-After": "1777896120", "Date": date}, NOW) == 120.0
    assert retry_after({"Retry-After": "1777896120"}) is None


def test_a_date_header_before_the_first_candles_is_ignored() -> None:
    assert date_header({"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}) is None
    assert date_header(DATE) == NOW


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Way too much request weight used; IP banned until 1777896120000. Please use the websocket.", 120.0),
        ("IP banned until 1777896120", 120.0),
        ("Your IP is banned until 2026-05-04 12:02:00", 120.0),
        ("banned until 2026-05-04T12:02:00.000Z.", 120.0),
        ("banned until 2026/05/04 12:02:00 UTC", 120.0),
        ("banned until 2026-05-04 14:02:00 +02:00", 120.0),
        ("banned until: Mon, 04 May 2026 12:02:00 GMT", 120.0),
        ("You are banned. Unban at 2026-05-04T12:02:00Z", 120.0),
        ("retry-after 2026-05-04 12:02:00", 120.0),
        ("retry after 30 s", 30.0),
        ("Too many requests, retry after 30", 30.0),
        ("Retry-After: 1777896120000", 120.0),
        ("Please try again in 5 minutes.", 300.0),
        ("Please wait 10 seconds and try again", 10.0),
        ("please wait for 1500ms", 1.5),
        ("Rate limit exceeded, retry in 1 minute 30 seconds", 90.0),
        ("Your IP is blocked for 2 hours", 7200.0),
        ("temporarily banned for 1h, 5m", 3900.0),
        ("the ban expires in 2 days", 172_800.0),
        ("Too many requests; current limit is 1200 request weight per 1 MINUTE.", None),
        ("Our support is available 24h a day. Try again later.", None),
        ("banned until further notice", None),
        ("retry after 99999999999999999999 s", 99999999999999999999.0),
    ],
)
def test_a_wait_in_a_sentence_is_read(text: str, seconds: float | None) -> None:
    assert requested_wait({}, text, None, NOW, refused=True) == pytest.approx(seconds)
    assert requested_wait({}, json.dumps({"msg": text}), {"msg": text}, NOW, refused=True) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"retryAfter": 30}, 30.0),
        ({"retry_after": "30"}, 30.0),
        ({"retry-after": 1.5}, 1.5),
        ({"retryAfterMs": 1500}, 1.5),
        ({"retry_after_seconds": 30}, 30.0),
        ({"error": {"code": 429, "parameters": {"retry_after": 35}}}, 35.0),
        ({"errors": [{"retryAfter": 7}, {"retryAfter": 9}]}, 9.0),
        ({"bannedUntil": 1777896120000}, 120.0),
        ({"ban_until": "2026-05-04T12:02:00Z"}, 120.0),
        ({"unbanTime": 1777896120}, 120.0),
        ({"retryAfter": None}, None),
        ({"retryAfter": True}, None),
        ({"retryAfter": {}}, None),
        ({"retryAfter": 10**400}, None),
        ({"retryAfter": -5}, 0.0),
        ({"retries": 30, "time": 1777896120}, None),
    ],
)
def test_a_wait_in_a_field_is_read(body: Any, seconds: float | None) -> None:
    assert requested_wait({}, "", body, NOW, refused=True) == pytest.approx(seconds)


def test_the_header_counts_before_the_body_unless_it_is_invalid() -> None:
    text, body = "IP banned until 1777896120000", {"retryAfter": 30}
    for value, seconds in (("5", 5.0), ("0", 0.0), ("-1", 0.0), ("1771404540", 0.0), ("soon", 120.0)):
        assert requested_wait({"Retry-After": value, **DATE}, text, body, NOW, refused=True) == seconds
    assert requested_wait({"Retry-After": "0"}, "", None, NOW, refused=True) == 0.0


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("58", 60.0), ("60", 60.0), ("1777896050", 60.0), ("61", 60_000.0), ("1777896120", 60_000.0), ("soon", 60_000.0)],
)
def test_a_retry_after_in_thousands_is_milliseconds_only_if_the_quota_is_reset_within_that_time(
    reset: str, seconds: float
) -> None:
    assert retry_after({"Retry-After": "60000", "X-RateLimit-Reset": reset, **DATE}) == seconds
    assert retry_after({"Retry-After": "61", "X-RateLimit-Reset": reset, **DATE}) == 61.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"X-RateLimit-Reset": "1777896120"}, 120.0),
        ({"RateLimit-Reset": "20"}, 20.0),
        ({"gw-ratelimit-reset": "20000"}, 20.0),
        ({"X-Bapi-Limit-Reset-Timestamp": "1777896120000"}, 120.0),
        ({"bitvavo-ratelimit-resetat": "1777896120000"}, 120.0),
        ({"X-RateLimit-Reset": "1777896120", "Retry-After": "3"}, 3.0),
        ({"X-RateLimit-Reset": "tomorrow"}, None),
    ],
)
def test_the_reset_of_the_quota_counts_only_if_we_sent_too_many_requests(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert requested_wait(headers, "", None, NOW, refused=True) == pytest.approx(seconds)
    assert requested_wait(headers, "", None, NOW, refused=False) == (3.0 if "Retry-After" in headers else None)


NUMBERS = st.one_of(
    st.floats().map(str),
    st.integers().map(str),
    st.integers(1, 400).map(lambda digits: "9" * digits),
    st.sampled_from(["1e12", "1e308", "-1e308", "Infinity", "60000", "٣٠", "1_0", "1777896120", "0", "-0.0"]),
)
HEADER_VALUES = st.one_of(
    st.text(),
    NUMBERS,
    st.lists(NUMBERS, max_size=4).map(", ".join),
    st.datetimes().map(email.utils.format_datetime),
    st.datetimes().map(datetime.isoformat),
    st.from_regex(r"[A-Z][a-z]{2}, -?\d{1,3} [A-Z][a-z]{2} \d{1,12} \d{1,3}:\d{1,3}:\d{1,3} ([+-]\d{1,9}|GMT|\w*)"),
)
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "Date", "X-RateLimit-Reset", "gw-ratelimit-reset", "X-Other"]), HEADER_VALUES
)
SENTENCES = st.one_of(
    st.text(),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["IP banned until", "retry after", "try again in", "please wait", "blocked for", "expires in"]),
        st.one_of(NUMBERS, HEADER_VALUES),
        st.sampled_from(["", "s", "ms", "minutes", "days", "years", "."]),
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | SENTENCES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["retryAfter", "retry_after_ms", "bannedUntil", "code", "msg", "error", "data"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
CLASS_OF_STATUS = {
    400: None,
    403: None,
    418: {ErrorClass.BANNED},
    429: {ErrorClass.RATE_LIMITED, ErrorClass.BANNED},
    451: {ErrorClass.BLOCKED_LOCATION},
    503: None,
}
BINANCE = strict_class(ccxt.async_support.binance)()
BINANCE.on_date = lambda _date: None


@settings(max_examples=600, deadline=None)
@given(
    headers=HEADERS, body=SENTENCES | JSON, status=st.sampled_from(sorted(CLASS_OF_STATUS)), sent=st.integers(0, 2**45)
)
@example(headers={"Retry-After": "1e12"}, body="", status=429, sent=0)
@example(headers={"Retry-After": "1771404540"}, body={}, status=418, sent=1_777_896_000_000)
@example(headers={}, body={"msg": "\ud800 IP banned until 9999999999999\x00"}, status=429, sent=1_777_896_000_000)
def test_no_response_makes_the_mapping_raise_or_changes_the_class_of_a_refusal(
    headers: dict[str, str], body: Any, status: int, sent: int
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    LAST_REQUEST.set(RequestRecord(sent_ms=sent))
    BINANCE.on_send = lambda: sent
    with pytest.raises(ccxt.BaseError) as caught:
        BINANCE.handle_errors(status, "", "https://x", "GET", headers, text, BINANCE.parse_json(text), {}, None)
    failure = translate_error(caught.value, "binance", NOON)
    assert failure.retry_after is None or 0 <= failure.retry_after <= LONGEST_RETRY_AFTER
    expected = CLASS_OF_STATUS[status]
    assert expected is None or failure.error_class in expected
    failure.message.encode()
    assert "\x00" not in failure.message
    assert len(failure.message) < 500
