import pytest
from fastapi import Response
from starlette.datastructures import Headers

from admin_api.auth.cookies import clear_session_cookie, session_cookie
from admin_api.auth.csrf import csrf_problem

OWN = {"X-CSRF-Protection": "1", "Sec-Fetch-Site": "same-origin", "Host": "api.example.org"}
OLD = {"X-CSRF-Protection": "1", "Host": "api.example.org"}


def problem(method: str = "POST", scheme: str = "https", **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return csrf_problem(method, Headers(named), scheme=scheme) or ""


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_methods_need_no_csrf_header(method: str) -> None:
    assert not problem(method, Sec_Fetch_Site="cross-site", Origin="https://evil.example")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "SURPRISE"])
def test_a_changing_request_needs_a_page_of_the_same_origin(method: str) -> None:
    assert not problem(method, **OWN)
    assert not problem(method, **(OWN | {"X-CSRF-Protection": ""}))
    assert "X-CSRF-Protection" in problem(method, **(OLD | {"X-CSRF-Protection": ""}), Origin="https://api.example.org")
    for site in ("cross-site", "same-site", "none", "SAME-ORIGIN", ""):
        assert "another site" in problem(method, **(OWN | {"Sec-Fetch-Site": site}))
    assert "bearer" in problem(method, **OLD)


def test_sec_fetch_site_is_used_before_origin_because_a_proxy_may_change_the_host() -> None:
    assert not problem(**OWN, Origin="https://public.example.org")


def test_without_sec_fetch_site_the_origin_is_compared_with_the_host() -> None:
    assert not problem(**OLD, Origin="https://api.example.org")
    assert not problem(**OLD, Origin="https://API.example.org")
    for origin in (
        "https://evil.example",
        "http://api.example.org",
        "https://api.example.org:8443",
        "https://api.example.org.evil.example",
        "null",
        "",
    ):
        assert "another origin" in problem(**OLD, Origin=origin), origin


@pytest.mark.parametrize(
    ("cookie", "secure", "found"),
    [
        ("__Host-candlekeep=abc", True, "abc"),
        ("a=b; __Host-candlekeep=abc; c=d", True, "abc"),
        ("candlekeep-session=abc", True, None),
        ("candlekeep-session=abc", False, "abc"),
        ("__Host-candlekeep=abc", False, None),
        ("__Host-candlekeep=abc; __Host-candlekeep=def", True, None),
        ("__Host-candlekeep=", True, None),
        ("__Host-candlekeep", True, None),
        ("", True, None),
    ],
)
def test_the_session_is_read_from_exactly_one_cookie_with_the_right_name(
    cookie: str, secure: bool, found: str | None
) -> None:
    assert session_cookie(Headers({"Cookie": cookie}), secure=secure) == found


def test_a_cleared_cookie_has_the_attributes_of_the_session_cookie() -> None:
    response = Response()
    clear_session_cookie(response, secure=True)
    header = response.headers["set-cookie"]
    for part in ("__Host-candlekeep=", "Max-Age=0", "Path=/", "Secure", "HttpOnly", "SameSite=strict"):
        assert part in header
