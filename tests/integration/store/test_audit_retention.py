"""An admin may remove old entries of the audit log by a command of the owner. A new entry reports it."""

import gzip
import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from support.databases import connected
from support.forked_commands import run_forked
from support.shared_services import SharedServices

pytestmark = pytest.mark.postgres

Trim = Callable[..., Awaitable[tuple[int, str]]]
DESCRIPTION = 'a "quoted" \\ text\nwith two lines'


@pytest.fixture
async def audited(database_url: str) -> str:
    """A database with entries of 500, 401, 399 and 10 days ago."""
    async with connected(database_url) as superuser:
        await superuser.execute(
            "INSERT INTO audit_log (at, actor_kind, actor, request_id, action, object_type, outcome, after)"
            " SELECT now() - age * interval '1 day', 'token', 'ann', 'r-' || age, 'config.create', 'config', 'done', $1"
            " FROM unnest(ARRAY[500, 401, 399, 10]) AS age",
            json.dumps({"description": DESCRIPTION}),
        )
    return database_url


@pytest.fixture
def trim(audited: str) -> Trim:
    """Runs the command with the login of a process. Returns the exit code and the output."""

    async def run(*arguments: str, login: str = "migrations") -> tuple[int, str]:
        url = SharedServices.of_this_run().database_logins().url(audited, login)
        ended = await run_forked("store", ("trim-audit-log", *arguments), {**os.environ, "DATABASE_URL": url})
        return ended.code or 0, ended.out + ended.err

    return run


async def entries(connection: asyncpg.Connection) -> list[str]:
    return [
        row[0] for row in await connection.fetch("SELECT request_id FROM audit_log WHERE actor = 'ann' ORDER BY at")
    ]


async def reports(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    return list(await connection.fetch("SELECT * FROM audit_log WHERE action = 'audit_log.trim'"))


async def test_old_entries_are_archived_and_removed_and_a_new_entry_reports_it(
    audited: str, trim: Trim, tmp_path: Path
) -> None:
    archive = tmp_path / "audit.jsonl.gz"
    async with connected(audited) as superuser:
        removed = await superuser.fetch("SELECT to_jsonb(audit_log) AS entry FROM audit_log ORDER BY at LIMIT 2")
        code, output = await trim("--older-than-days", "400", "--archive", str(archive))
        assert (code, "Removed 2 entries" in output) == (0, True), output
        assert await entries(superuser) == ["r-399", "r-10"]
        [report] = await reports(superuser)
    lines = gzip.decompress(archive.read_bytes()).decode().splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(row["entry"]) for row in removed]
    assert json.loads(lines[0])["after"] == {"description": DESCRIPTION}
    assert archive.stat().st_mode & 0o777 == 0o600
    hashed = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert hashed in output
    assert (report["actor_kind"], report["object_type"], report["outcome"]) == ("command", "audit_log", "done")
    assert json.loads(report["after"]) == {"archive": "audit.jsonl.gz", "sha256": hashed}
    first = json.loads(lines[0])["at"]
    before = json.loads(report["before"])
    assert (before["entries"], before["first"][:19]) == (2, first[:19])


async def test_old_entries_can_be_removed_without_an_archive(audited: str, trim: Trim) -> None:
    code, output = await trim("--older-than-days", "400", "--discard")
    assert (code, "discarded" in output) == (0, True), output
    async with connected(audited) as superuser:
        assert await entries(superuser) == ["r-399", "r-10"]
        [report] = await reports(superuser)
    assert json.loads(report["after"]) == {"archive": None, "sha256": None}


@pytest.mark.parametrize("login", ["admin-api", "log-writer", "tokens"])
async def test_the_login_of_a_service_cannot_remove_entries(
    audited: str, trim: Trim, tmp_path: Path, login: str
) -> None:
    code, output = await trim("--older-than-days", "400", "--archive", str(tmp_path / "archive"), login=login)
    assert (code, "permission denied" in output, "Traceback" in output) == (1, True, False), output
    async with connected(audited) as superuser:
        assert len(await entries(superuser)) == 4
        assert await reports(superuser) == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--older-than-days", "400"), 2, "either --archive FILE or --discard"),
        (("--older-than-days", "400", "--archive", "x", "--discard"), 2, "either --archive FILE or --discard"),
        (("--older-than-days", "29", "--discard"), 2, "--older-than-days"),
        (("--older-than-days", "400", "--archive", "/dev/null"), 1, "File exists"),
        (("--older-than-days", "600", "--discard"), 0, "No entry is older than 600 days"),
    ],
)
async def test_a_command_that_cannot_or_need_not_remove_anything_says_so(
    audited: str, trim: Trim, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended, output = await trim(*arguments)
    assert (ended, says in output, "Traceback" in output) == (code, True, False), output
    async with connected(audited) as superuser:
        assert len(await entries(superuser)) == 4
        assert await reports(superuser) == []
