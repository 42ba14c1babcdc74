import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from local_stack.errors import StackError
from local_stack.kafka_provider import ExistingKafka
from local_stack.plan import Ports, Role
from local_stack.processes import Child, Command, command_line, live_pid, run_to_end
from local_stack.readiness import is_ready
from local_stack.stack import Stack, StackOptions, running_stack
from support import dummy_service
from support.polling import eventually

DUMMY = Role(name="admin-api", argv=(sys.executable, dummy_service.__file__), port_offset=0, stop_phase=0)
OTHER = Role(name="worker", argv=(sys.executable, dummy_service.__file__), port_offset=1, stop_phase=1)


def a_stack(folder: Path, **changes: object) -> StackOptions:
    """A stack of two dummy roles. Kafka and Postgres count as existing servers."""
    chosen = {
        "folder": folder,
        "roles": (DUMMY, OTHER),
        "live": True,
        "prepare": False,
        "kafka": ExistingKafka("127.0.0.1:1"),
        "database_url": "postgresql://user@127.0.0.1:1/none",
    }
    return StackOptions(**{**chosen, **changes})


def pids(stack: Stack) -> dict[str, int]:
    return {name: kept.running.child.pid for name, kept in stack.processes.items() if kept.running.child}


async def test_a_stopped_stack_leaves_no_process_and_no_pid_file(tmp_path: Path) -> None:
    async with running_stack(a_stack(tmp_path)) as stack:
        started = pids(stack)
        assert set(started) == {"admin-api", "worker"}
        for service in stack.services.values():
            assert await is_ready(service.port, "/health/ready")
    assert [command_line(pid) for pid in started.values()] == [None, None]
    assert list((tmp_path / "run").iterdir()) == []


async def test_instances_of_a_role_have_different_names_and_ports(tmp_path: Path) -> None:
    async with running_stack(a_stack(tmp_path, instances={"worker": 3})) as stack:
        assert set(pids(stack)) == {"admin-api", "worker", "worker-2", "worker-3"}
        assert len({service.port for service in stack.services.values()}) == 4


async def test_instances_are_added_and_removed_and_no_name_is_used_twice(
    tmp_path: Path,
) -> None:
    async with running_stack(a_stack(tmp_path)) as stack:
        assert await stack.add("worker") == "worker-2"
        assert await is_ready(stack.services["worker-2"].port, "/health/ready")
        assert await stack.remove("worker-2") == 0
        assert set(pids(stack)) == {"admin-api", "worker"}
        assert await stack.add("worker") == "worker-3"


async def test_a_restart_continues_the_same_log(tmp_path: Path) -> None:
    async with running_stack(a_stack(tmp_path)) as stack:
        first = pids(stack)["worker"]
        await stack.processes["worker"].stop()
        await stack.processes["worker"].start()
        await eventually(lambda: is_ready(stack.services["worker"].port, "/health/ready"))
        assert f"serving as {first}" in (stack.folder.logs / "worker.log").read_text()


async def test_a_killed_process_is_restarted_and_its_last_lines_are_reported(tmp_path: Path) -> None:
    reports: list[str] = []
    async with running_stack(a_stack(tmp_path, report=reports.append)) as stack:
        before = pids(stack)["worker"]
        stack.processes["worker"].send(signal.SIGKILL)
        await eventually(lambda: any("worker was restarted" in line for line in reports))
        assert pids(stack)["worker"] != before
        await eventually(lambda: is_ready(stack.services["worker"].port, "/health/ready"))
    (message,) = [line for line in reports if "SIGKILL" in line]
    assert f"serving as {before}" in message


async def test_a_halted_process_is_not_restarted_until_start(tmp_path: Path) -> None:
    async with running_stack(a_stack(tmp_path)) as stack:
        worker, port = stack.processes["worker"], stack.services["worker"].port
        await worker.halt()
        assert not worker.is_running
        assert not await is_ready(port, "/health/ready")
        await worker.start()
        await eventually(lambda: is_ready(port, "/health/ready"))


async def test_invalid_settings_end_the_start_with_the_message_of_the_service(tmp_path: Path) -> None:
    options = a_stack(tmp_path, overrides={"worker": {"DUMMY_EXIT_AT_START": "2"}})
    with pytest.raises(StackError, match=r"worker did not become ready: DUMMY_COLOUR is not valid"):
        async with running_stack(options):
            pytest.fail("it started")
    assert list((tmp_path / "run").iterdir()) == []


async def test_repeated_crashes_of_a_service_end_the_start(tmp_path: Path) -> None:
    options = a_stack(tmp_path, overrides={"*": {"DUMMY_EXIT_AT_START": "1"}})
    with pytest.raises(StackError, match="did not become ready"):
        async with running_stack(options):
            pytest.fail("it started")


async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace_time(tmp_path: Path) -> None:
    command = Command(
        name="stubborn",
        argv=(sys.executable, dummy_service.__file__),
        env={"DUMMY_STUBBORN": "1", "HTTP_PORT": "0"},
        grace_seconds=0.2,
    )
    child = await Child.start(command, log_file=tmp_path / "log", pid_file=tmp_path / "pid")
    await eventually(lambda: child.last_lines(1))
    started = time.monotonic()
    await child.stop()
    assert child.exit_code == -signal.SIGKILL
    assert time.monotonic() - started < 5


async def test_only_the_owner_can_read_log_files_also_those_of_an_earlier_release(tmp_path: Path) -> None:
    (tmp_path / "old.log").write_text("an earlier line\n")
    (tmp_path / "old.log").chmod(0o644)
    for name in ("new.log", "old.log"):
        command = Command(name="a command", argv=(sys.executable, "-c", "print('a line')"))
        await run_to_end(command, log_file=tmp_path / name, pid_file=tmp_path / "pid")
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "old.log").read_text() == "an earlier line\na line\n"


async def test_a_start_stops_the_processes_of_a_killed_stack(tmp_path: Path) -> None:
    command = Command(name="orphan", argv=(sys.executable, dummy_service.__file__), env={"HTTP_PORT": "0"})
    orphan = await Child.start(command, log_file=tmp_path / "log", pid_file=tmp_path / "run" / "worker.pid")
    await eventually(lambda: orphan.last_lines(1))
    reports: list[str] = []
    async with running_stack(a_stack(tmp_path, report=reports.append)):
        assert "stopped processes of an earlier run: worker" in reports
        assert await orphan.wait() == 0


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
async def test_a_leftover_process_without_a_pid_file_is_found(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from pathlib import Path
from local_stack import processes
processes.record_pid = lambda *_: sys.exit(3)
dummy, folder = sys.argv[1], Path(sys.argv[2])
command = processes.Command(name="x", argv=(sys.executable, dummy), env={"HTTP_PORT": "0"})
asyncio.run(processes.Child.start(command, log_file=folder / "log", pid_file=folder / "run" / "x.pid"))
"""
    arguments = ("-c", script, dummy_service.__file__, str(tmp_path))
    killed = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    assert await killed.wait() == 3
    await eventually(lambda: "serving as" in (tmp_path / "log").read_text())
    reports: list[str] = []
    async with running_stack(a_stack(tmp_path, report=reports.append)):
        assert any("earlier run: process " in line for line in reports), reports


def test_a_reused_pid_is_not_a_leftover_process(tmp_path: Path) -> None:
    pid_file = tmp_path / "worker.pid"
    pid_file.write_text(f'{{"pid": {os.getpid()}, "command": "python -m collector"}}')
    assert live_pid(pid_file) is None


async def test_a_second_stack_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    # Each process has at most one stack, so a child process takes the place of the first stack.
    command = Command(name="first", argv=(sys.executable, dummy_service.__file__), env={"HTTP_PORT": "0"})
    first = await Child.start(command, log_file=tmp_path / "log", pid_file=tmp_path / "run" / "stack.pid")
    try:
        await eventually(lambda: first.last_lines(1))
        with pytest.raises(StackError, match=rf"already running \(pid {first.pid}"):
            await Stack(a_stack(tmp_path)).start()
    finally:
        await first.stop()


async def test_a_taken_port_is_reported_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stack = Stack(a_stack(tmp_path, ports=Ports.fixed(port)))
        expected = rf"port {port} \(admin-api\) is in use by pid {os.getpid()} .*call make demo PORT={port + 100}"
        with pytest.raises(StackError, match=expected):
            await stack.start()
    assert stack.processes == {}


async def test_an_invalid_setting_of_the_exchanges_is_reported_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXCHANGE_URL_OVERRIDES", '{"krakn": "http://127.0.0.1:1"}')
    stack = Stack(a_stack(tmp_path, live=False))
    with pytest.raises(StackError, match=r"^EXCHANGE_URL_OVERRIDES is not valid: .* did you mean kraken"):
        await stack.start()
    assert stack.processes == {}
