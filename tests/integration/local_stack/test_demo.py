"""`make demo`, started twice and stopped by signals, with the real Kafka and the in-memory one."""

import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from local_stack.api_client import EXAMPLES
from local_stack.plan import SERVICES, SIMULATOR
from local_stack.processes import command_line
from support.demo import Demo
from support.polling import eventually

pytestmark = [pytest.mark.system, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(900)]


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as made:
        Path(made).chmod(0o711)  # for Postgres, which runs as an unprivileged user
        yield Path(made)


@pytest.mark.parametrize("kafka", ["auto", "memory"])
async def test_the_demo_collects_stops_cleanly_and_keeps_its_data(folder: Path, kafka: str) -> None:
    demo = Demo(folder, kafka)
    await demo.start()
    try:
        await eventually(lambda: all(f"{symbol} " in demo.output_text() for symbol, *_ in EXAMPLES), within=180)
        await eventually(lambda: "% whole, " in demo.output_text(), within=180)
        async with demo.api() as api:
            configs = (await api.get("/configs")).json()
            logs = (await api.get("/execution-logs")).json()
        assert [(config["symbol"], config["exchange"]) for config in configs] == [
            (symbol, exchange) for symbol, exchange, _ in EXAMPLES
        ]
        logs_of_others = {file.name for file in folder.rglob("logs/*.log") if file.stat().st_mode & 0o077}
        assert logs_of_others == set(), "others than the owner can read these logs"
        pids = demo.pids()
        assert set(pids) >= {"kafka", "postgres", "stack", SIMULATOR.name, *(role.name for role in SERVICES)}
    finally:
        code = await demo.stop(signal.SIGINT)
    assert code == 0, demo.output_text()
    assert {name: command_line(pid) for name, pid in pids.items() if command_line(pid)} == {}
    assert demo.pids() == {}

    await demo.start()
    try:
        async with demo.api() as api:
            assert (await api.get("/configs")).json() == configs
            known = {log["id"] for log in (await api.get("/execution-logs", params={"limit": 1000})).json()}
            assert known >= {log["id"] for log in logs}
            run_id = (await api.post(f"/configs/{configs[0]['id']}/trigger")).json()["run_id"]

            async def finished() -> bool:
                rows = (await api.get("/execution-logs", params={"limit": 1000})).json()
                return any(row["run_id"] == run_id and row["status"] == "success" for row in rows)

            await eventually(finished, within=30, every=0.2)
    finally:
        code = await demo.stop(signal.SIGTERM)
    assert code == 0, demo.output_text()
