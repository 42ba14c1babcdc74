import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from local_stack.errors import StackError
from local_stack.ports import free_port
from local_stack.postgres import Postgres, PostgresPlace, reachable_data
from local_stack.postgres_binaries import data_version_of, find_binaries, unprivileged_user
from local_stack.processes import account, command_line


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that an unprivileged Postgres can enter. Other users cannot enter pytest's folders."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o711)
        yield Path(made)


def a_place(folder: Path, **changes: object) -> PostgresPlace:
    chosen = {"data": folder / "data" / "postgres", "logs": folder / "logs", "run": folder / "run", "durable": False}
    return PostgresPlace(**{**chosen, **changes})


@pytest.mark.postgres
@pytest.mark.parametrize("binaries", ["the machine's or the wheel's", "wheel"])
async def test_postgres_is_utf8_and_keeps_its_data_over_a_restart(
    folder: Path, binaries: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDLEKEEP_POSTGRES", binaries)
    place = a_place(folder, password="secret")
    first = await Postgres.start(place, print)
    try:
        assert first.fresh
        connection = await asyncpg.connect(first.url)
        assert await connection.fetchval("SHOW server_encoding") == "UTF8"
        assert await connection.fetchval("SELECT 'Z' < 'a'"), "not the C locale"
        await connection.execute("CREATE TABLE kept AS SELECT 'è' AS letter")
        await connection.close()
    finally:
        await first.stop()
    assert command_line(first.child.pid) is None
    second = await Postgres.start(place, print)
    try:
        assert not second.fresh
        connection = await asyncpg.connect(second.url)
        assert await connection.fetchval("SELECT letter FROM kept") == "è"
        await connection.close()
    finally:
        await second.stop()
    assert list(place.run.iterdir()) == []


@pytest.mark.postgres
async def test_a_killed_server_starts_again_although_its_pid_was_reused(folder: Path) -> None:
    place = a_place(folder)
    killed = await Postgres.start(place, print)
    pid_file = place.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    killed.child.signal(signal.SIGKILL)
    await killed.child.wait()
    other = await asyncio.create_subprocess_exec("sleep", "60", **account(unprivileged_user()))
    try:
        pid_file.write_text("\n".join([str(other.pid), *lines[1:], ""]))
        again = await Postgres.start(place, print)
        await again.stop()
    finally:
        other.kill()
        await other.wait()


@pytest.mark.postgres
async def test_a_wrong_password_is_refused(folder: Path) -> None:
    postgres = await Postgres.start(a_place(folder, password="right"), print)
    try:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(postgres.url.replace("right", "wrong"))
    finally:
        await postgres.stop()


@pytest.mark.postgres
async def test_clients_do_not_delay_the_stop(folder: Path) -> None:
    postgres = await Postgres.start(a_place(folder), print)
    connection = await asyncpg.connect(postgres.url)
    await postgres.stop()
    assert postgres.child.exit_code == 0
    connection.terminate()


async def test_data_of_a_missing_version_gives_a_clear_message(folder: Path) -> None:
    place = a_place(folder)
    place.data.mkdir(parents=True)
    (place.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(StackError, match=r"was created by Postgres 9, which is not on this machine"):
        await Postgres.start(place, print)


def test_existing_data_gets_the_binaries_of_its_version(folder: Path) -> None:
    newest = find_binaries(folder / "none", {"CANDLEKEEP_POSTGRES": "wheel"}).version
    (folder / "PG_VERSION").write_text("16\n")
    assert data_version_of(folder) == 16
    assert newest == 18
    assert find_binaries(folder, {"CANDLEKEEP_POSTGRES": "wheel"}).version == 16


def test_data_is_in_another_folder_if_the_original_one_cannot_be_entered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local_stack.postgres.can_enter", lambda path, _: folder not in path.parents)
    reports: list[str] = []
    first = reachable_data(folder / "data" / "postgres", "nobody", reports.append)
    again = reachable_data(folder / "data" / "postgres", "nobody", reports.append)
    assert first == again
    assert folder not in first.parents
    assert len(reports) == 1
    first.parent.rmdir()


async def test_a_taken_port_is_reported(folder: Path) -> None:
    port = free_port()
    first = await Postgres.start(a_place(folder, port=port), print)
    try:
        other = a_place(folder, port=port, data=folder / "other" / "postgres", run=folder / "other-run")
        with pytest.raises(StackError, match="port was taken while it started"):
            await Postgres.start(other, print)
    finally:
        await first.stop()
