"""Reasons of refusals in texts, from public reports and the pages of content delivery networks."""

import pytest

from collector.exchange.refusal_words import (
    names_ban,
    names_maintenance,
    names_place,
    names_too_many_requests,
    words_of,
)

KUCOIN = (
    "Our services are currently unavailable in the U.S. To ensure a seamless experience, please access our platform "
    "from a non-restricted country/region using a supported IP address."
)


@pytest.mark.parametrize(
    "text",
    [
        "The Amazon CloudFront distribution is configured to block access from your country.",
        "Service unavailable from a restricted location according to 'b. Eligibility' in the terms",
        "This service is not available in your region",
        "not available in your country or region",
        "Trading is prohibited in your jurisdiction",
        "Users of your country are not allowed",
        "The owner of this website has banned the country or region your IP address is in (US)",
        "Error: COUNTRY_BLOCKED",
        "geo-blocked",
        "GeoRestricted",
        KUCOIN,
    ],
)
def test_a_blocked_place_is_recognized_with_any_status(text: str) -> None:
    assert names_place(words_of(text), is_forbidden=False)


@pytest.mark.parametrize(
    ("text", "is_place"),
    [
        ("Forbidden: region", True),
        ("Access is restricted", True),
        ("regulatory restrictions", True),
        ("US IPs are not served", True),
        ("Forbidden", False),
        ("Access restricted: your API key has no permission", False),
        ("Access restricted to whitelisted addresses", False),
        ("Sorry, you have been blocked. Cloudflare Ray ID: 7f", False),
        ("Enable JavaScript and cookies to continue", False),
    ],
)
def test_with_a_status_of_403_the_name_of_a_place_is_enough(text: str, is_place: bool) -> None:
    assert names_place(words_of(text), is_forbidden=True) is is_place


@pytest.mark.parametrize(
    "text",
    [
        "Invalid symbol",
        "Too many requests",
        "<html><script>window.location = blocked('country')</script><style>.region {}</style>Blocked</html>",
        "<html><!-- not available in your country --><body>502 Bad Gateway</body></html>",
        "The region of the candles is empty",
    ],
)
def test_scripts_styles_and_other_errors_are_no_blocked_place(text: str) -> None:
    assert not names_place(words_of(text), is_forbidden=False)


def test_only_the_values_of_json_are_words() -> None:
    body = {"country": None, "region": "eu", "message": "Forbidden", "deep": [{"text": "RESTRICTED_LOCATION"}]}
    assert words_of("ignored", body) == "eu Forbidden RESTRICTED LOCATION"


@pytest.mark.parametrize(
    ("text", "is_ban"),
    [
        ("IP banned until 1660090423228", True),
        ("Your IP has been banned", True),
        ("The address is temporarily banned", True),
        ("banned until 2026-11-27 10:00:00", True),
        ("Slow down, or your IP will be banned", False),
        ("to avoid bans, use the websocket", False),
        ("trading of this token is banned", False),
    ],
)
def test_a_ban_of_our_address_is_recognized(text: str, is_ban: bool) -> None:
    assert names_ban(text, is_refused=False) is is_ban


@pytest.mark.parametrize(
    ("text", "is_too_many"),
    [
        ("Too many requests", True),
        ("Too many visits!", True),
        ("403, access too frequent", True),
        ("Rate limit exceeded", True),
        ("API rate-limit reached", True),
        ("You exceeded the allowed number of requests", True),
        ("Request frequency too high", True),
        ("There might be too much traffic or a configuration error", False),
        ("limit must not exceed 1000", False),
        ("too many candles requested", False),
    ],
)
def test_a_rate_limit_is_recognized(text: str, is_too_many: bool) -> None:
    assert names_too_many_requests(text) is is_too_many


def test_maintenance_is_recognized() -> None:
    assert names_maintenance("The system is under maintenance")
    assert not names_maintenance("maintenance margin too low")
