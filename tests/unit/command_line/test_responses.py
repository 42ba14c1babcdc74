"""How the command handles responses of the API. A function replaces the network."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import httpx
import pytest

from command_line.client import Api
from command_line.failures import Refused, TimedOut, Unreachable
from command_line.following import follow_runs
from command_line.output import cell, print_json, print_json_line, print_message
from command_line.settings import Settings
from command_line.waiting import wait_for_run

Respond = Callable[[httpx.Request], httpx.Response]


def an_api(respond: Respond) -> Api:
    return Api(Settings("http://api", "secret"), httpx.MockTransport(respond))


def a_list_of(count: int) -> Respond:
    """A list in pages, with the links and cursors of the API."""

    def respond(request: httpx.Request) -> httpx.Response:
        query = request.url.params
        assert query.get("status") == "failed"
        start, limit = int(query.get("cursor", 0)), int(query["limit"])
        rows = [{"id": number} for number in range(start, min(start + limit, count))]
        more = start + limit < count
        target = f"{request.url.path}?status=failed&limit={limit}&cursor={start + limit}"
        headers = {"Link": f'<{request.url.path}>; rel="first"' + (f', <{target}>; rel="next"' if more else "")}
        return httpx.Response(200, json=rows, headers=headers)

    return respond


@pytest.mark.parametrize(("most", "expected"), [(None, 25), (7, 7), (10, 10), (13, 13), (99, 25), (0, 0)])
def test_a_list_is_read_page_by_page_up_to_the_limit(most: int | None, expected: int) -> None:
    rows = an_api(a_list_of(25)).rows("/execution-logs", most=most, page=10, status="failed", exchange=None)
    assert [row["id"] for row in rows] == list(range(expected))


def test_a_refusal_contains_the_message_of_the_api_and_the_request_id() -> None:
    problem = {"title": "Not found", "detail": "There is no config 7."}
    api = an_api(lambda _: httpx.Response(404, json=problem, headers={"X-Request-ID": "abc"}))
    with pytest.raises(Refused, match=r"Not found: There is no config 7\. \(request abc\)"):
        api.get("/configs/7")


def test_server_errors_and_foreign_servers_have_their_own_errors() -> None:
    problem = {"title": "The database does not answer", "detail": "Try again."}
    with pytest.raises(Unreachable, match="Try again"):
        an_api(lambda _: httpx.Response(503, json=problem)).get("/stats")
    with pytest.raises(Refused, match="check the address"):
        an_api(lambda _: httpx.Response(404, text="<html>nginx</html>")).get("/stats")

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(Unreachable, match="http://api does not answer"):
        an_api(refuse).get("/stats")


def test_waiting_ends_with_the_run_or_with_a_timeout() -> None:
    responses: Iterator[list[dict[str, str]]] = iter([[], [{"status": "running"}], [{"status": "failed"}]])
    api = an_api(lambda _: httpx.Response(200, json=next(responses)))
    assert wait_for_run(api, "run", 60, sleep=lambda _: None) == {"status": "failed"}
    now = iter([0.0, 30.0, 61.0])
    with pytest.raises(TimedOut, match="no collector has started it"):
        wait_for_run(
            an_api(lambda _: httpx.Response(200, json=[])), "run", 60, clock=lambda: next(now), sleep=lambda _: None
        )


def a_run(number: int, **more: object) -> str:
    event = {
        "run_id": str(number),
        "config_id": 1,
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "trigger": "manual",
        "scheduled_for": "2026-03-01T10:00:00Z",
        "started_at": "2026-03-01T10:00:00Z",
    } | more
    return f"event: run\nid: at-{number}\ndata: {json.dumps(event)}\n\n"


def test_an_interrupted_stream_resumes_at_the_last_event() -> None:
    positions: list[str | None] = []

    def respond(request: httpx.Request) -> httpx.Response:
        positions.append(request.headers.get("Last-Event-ID"))
        assert dict(request.url.params) == {"kind": "run", "config_id": "1"}
        if len(positions) == 2:
            return httpx.Response(503, json={"title": "Busy", "detail": "Later."})
        body = a_run(1) + a_run(2, status="success", records_collected=5) if len(positions) == 1 else a_run(3)
        return httpx.Response(200, text=body, headers={"Content-Type": "text/event-stream"})

    found = list(islice(follow_runs(an_api(respond), config_id=1, exchange=None, sleep=lambda _: None), 3))
    assert [(run["run_id"], run["status"]) for run in found] == [("1", "running"), ("2", "success"), ("3", "running")]
    assert positions == [None, "at-2", "at-2"]


def test_a_refused_stream_ends() -> None:
    problem = {"title": "A valid token is needed", "detail": "Send one."}
    with pytest.raises(Refused, match="A valid token"):
        next(follow_runs(an_api(lambda _: httpx.Response(401, json=problem)), config_id=None, exchange=None))


def test_control_characters_are_not_sent_to_the_terminal() -> None:
    assert cell("\x1b[2Jgone [bold]x").plain == " [2Jgone [bold]x"


@pytest.mark.parametrize("show", [print_json, print_json_line])
def test_json_has_no_control_characters_and_the_same_value(
    show: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    value = {"error": "gone \x1b[2J\x9b31m \u202e \x7f \ud800 é 😀\nnext"}
    show(value)
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    assert "é 😀" in printed
    assert json.loads(printed) == value


def test_a_message_has_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("Not found:\n\x1b[2J\x9b31m")
    assert capsys.readouterr().err == "Not found:\n [2J 31m\n"


def test_objects_and_spans_are_printed_as_text() -> None:
    span = {"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T10:05:00Z"}
    assert cell([span, span]).plain == "\n".join(["2026-03-01T10:00:00Z to 2026-03-01T10:05:00Z"] * 2)
    hole = span | {"absence_class": "unread", "evidence": "the deadline\x1b"}
    assert (
        cell(hole).plain
        == "2026-03-01T10:00:00Z to 2026-03-01T10:05:00Z; absence class: unread; evidence: the deadline "
    )
    assert cell(["1m", "1h"]).plain == "1m,1h"
