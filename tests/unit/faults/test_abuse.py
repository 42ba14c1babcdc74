"""The judging parts of the abuse test find a leak, a slow answer, an unexpected answer and a missing attack."""

import asyncio
import inspect
import math
from collections import Counter
from pathlib import Path

import httpx
import pytest

from admin_api.auth.token_format import mint
from support.abuse import bodies, credentials, database, event_streams, messages, reads, requests, runs
from support.abuse.attack import Attack, Counts, Target, answer_of
from support.abuse.catalogue import ATTACKS
from support.abuse.figures import AttackCount, Figure, report
from support.abuse.observation import leaks, missing_lines, p99, readable_by_others, secret_of
from support.abuse.other_callers import OtherCallers, Samples

MODULES = (bodies, credentials, database, event_streams, messages, reads, requests, runs)


def test_every_attack_is_in_the_catalogue_once() -> None:
    written = [
        name
        for module in MODULES
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]
    assert sorted(written) == sorted(attack.name for attack in ATTACKS)


def test_a_part_of_a_credential_in_a_log_is_found(tmp_path: Path) -> None:
    token = mint().text
    secret = secret_of(token)
    assert len(secret) == 43
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "admin-api.log"
    log.write_text(f"token {token[:16]} is valid")
    assert leaks(tmp_path, [secret]) == [], "the beginning of a token is not secret"
    for start in range(19):
        log.write_text(f"token='{secret[start : start + 24]}'")
        assert leaks(tmp_path, [secret, "other-" * 8]), start
    assert secret_of("the-bootstrap-token") == "the-bootstrap-token"


def test_a_log_that_others_can_read_is_found(tmp_path: Path) -> None:
    for name, mode in (("private.log", 0o600), ("public.log", 0o644), ("group.log", 0o640)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    assert readable_by_others(tmp_path) == ["group.log", "public.log"]


def test_a_missing_line_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("request_id=mint-1\n")
    assert missing_lines(log, ["mint-1", "mint-2"]) == ["mint-2"]


def test_percentiles_count_the_slowest_answers() -> None:
    samples = Samples(seconds=[0.1] * 98 + [3.0, 4.0])
    assert (samples.percentile(0.98), samples.percentile(0.99), samples.percentile(1)) == (0.1, 3.0, 4.0)
    assert p99([0.1] * 98 + [3.0, 4.0]) == 3.0
    assert p99([]) == Samples().percentile(0.99) == math.inf, "no answer at all is not fast"


def test_a_figure_above_its_limit_and_an_unexpected_answer_are_reported() -> None:
    async def an_attack(target: Target, counts: Counts) -> None: ...

    attack = Attack(run=an_attack, caller="viewer", every=1, allowed=frozenset({"403"}))
    count = AttackCount(attack=attack, sent=3, answers={"403": 2, "500": 1})
    figures = [Figure(name="too high", value=2.01, limit=2, unit="s"), Figure(name="fine", value=2, limit=2)]
    assert count.unexpected == Counter({"500": 1})
    assert [figure.holds for figure in figures] == [False, True]
    lines = report(figures, [count]).splitlines()
    assert [line.split()[:4] for line in lines if "EXCEEDED" in line] == [["too", "high", "2.010", "2.000"]]
    assert "403: 2, 500: 1" in lines[1]


def test_a_refusal_because_of_load_must_say_when_to_try_again() -> None:
    assert answer_of(503, httpx.Headers({"Retry-After": "1"})) == "503"
    assert answer_of(429, httpx.Headers()) == "429 without Retry-After"


async def test_the_other_callers_measure_a_stalled_server_and_wrong_answers() -> None:
    stalled = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/me":
            await stalled.wait()
        return httpx.Response(404 if request.url.path == "/health/live" else 200, json={"token": "t"})

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://api")
    others = OtherCallers(api=client, admin=client, live_url="http://api/health/live")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.9):
            await others.work()
    assert others.live.wrong["404"] == len(others.live.seconds) >= 3
    assert len(others.me.seconds) >= 3, "requests start although earlier ones wait"
    assert others.me.percentile(1) > 0.4
