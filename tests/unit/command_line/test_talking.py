"""What the command makes of the API's answers. The network is a function."""

import json
from collections.abc import Callable, Iterator
from itertools import islice

import httpx
import pytest

from command_line.client import Api
from command_line.failures import Refused, TooLate, Unreachable
from command_line.following import follow_runs
from command_line.output import cell
from command_line.settings import Settings
from command_line.waiting import wait_for_run

Answer = Callable[[httpx.Request], httpx.Response]


def an_api(answer: Answer) -> Api:
    return Api(Settings("http://api", "secret"), httpx.MockTransport(answer))


def a_list_of(count: int) -> Answer:
    """Pages linked as the API links them, with cursors."""

    def answer(request: httpx.Request) -> httpx.Response:
        query = request.url.params
        assert query.get("status") == "failed"
        start, limit = int(query.get("cursor", 0)), int(query["limit"])
        rows = [{"id": number} for number in range(start, min(start + limit, count))]
        more = start + limit < count
        target = f"{request.url.path}?status=failed&limit={limit}&cursor={start + limit}"
        headers = {"Link": f'<{request.url.path}>; rel="first"' + (f', <{target}>; rel="next"' if more else "")}
        return httpx.Response(200, json=rows, headers=headers)

    return answer


@pytest.mark.parametrize(("most", "expected"), [(None, 25), (7, 7), (10, 10), (13, 13), (99, 25), (0, 0)])
def test_a_list_is_read_along_its_links_and_no_further_than_wanted(most: int | None, expected: int) -> None:
    rows = an_api(a_list_of(25)).rows("/execution-logs", most=most, page=10, status="failed", exchange=None)
    assert [row["id"] for row in rows] == list(range(expected))


def test_a_refusal_says_what_the_api_says_and_which_request_it_was() -> None:
    problem = {"title": "Not found", "detail": "There is no config 7."}
    api = an_api(lambda _: httpx.Response(404, json=problem, headers={"X-Request-ID": "abc"}))
    with pytest.raises(Refused, match=r"Not found: There is no config 7\. \(request abc\)"):
        api.get("/configs/7")


def test_a_server_in_trouble_and_one_that_is_not_ours_are_told_apart_from_a_refusal() -> None:
    problem = {"title": "The database does not answer", "detail": "Try again."}
    with pytest.raises(Unreachable, match="Try again"):
        an_api(lambda _: httpx.Response(503, json=problem)).get("/stats")
    with pytest.raises(Refused, match="is this its address"):
        an_api(lambda _: httpx.Response(404, text="<html>nginx</html>")).get("/stats")

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(Unreachable, match="http://api does not answer"):
        an_api(refuse).get("/stats")


def test_waiting_ends_with_the_run_or_says_why_it_gave_up() -> None:
    answers: Iterator[list[dict[str, str]]] = iter([[], [{"status": "running"}], [{"status": "failed"}]])
    api = an_api(lambda _: httpx.Response(200, json=next(answers)))
    assert wait_for_run(api, "run", 60, sleep=lambda _: None) == {"status": "failed"}
    now = iter([0.0, 30.0, 61.0])
    with pytest.raises(TooLate, match="no collector has taken it up"):
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


def test_a_stream_that_is_cut_off_goes_on_where_it_was() -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        assert dict(request.url.params) == {"kind": "run", "config_id": "1"}
        if len(asked) == 2:
            return httpx.Response(503, json={"title": "Busy", "detail": "Later."})
        body = a_run(1) + a_run(2, status="success", records_collected=5) if len(asked) == 1 else a_run(3)
        return httpx.Response(200, text=body, headers={"Content-Type": "text/event-stream"})

    found = list(islice(follow_runs(an_api(answer), config_id=1, exchange=None, sleep=lambda _: None), 3))
    assert [(run["run_id"], run["status"]) for run in found] == [("1", "running"), ("2", "success"), ("3", "running")]
    assert asked == [None, "at-2", "at-2"]


def test_a_stream_that_is_refused_ends() -> None:
    problem = {"title": "A valid token is needed", "detail": "Send one."}
    with pytest.raises(Refused, match="A valid token"):
        next(follow_runs(an_api(lambda _: httpx.Response(401, json=problem)), config_id=None, exchange=None))


def test_what_an_exchange_said_is_no_command_to_the_terminal() -> None:
    assert cell("\x1b[2Jgone [bold]x").plain == " [2Jgone [bold]x"
