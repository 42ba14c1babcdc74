"""The work of an operator on a running deployment: the guide, scaling, backup and restore, and a lost Kafka.

The tests run in this order, on a deployment of their own.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from local_stack.api_client import create_examples
from support.deploying.compose_command import compose_command
from support.deploying.deployment import DEPLOY, Deployment, remove
from support.deploying.engine import Docker
from support.deploying.report import say
from support.guide import CREATED, check_curls, run_all_curls
from support.polling import eventually
from support.shared_data import shared_file

OVERLAYS = (
    DEPLOY / "compose.simulator.yaml",
    DEPLOY / "compose.scale.yaml",
    Path(__file__).parent / "compose.quick.yaml",
)
HISTORY = {"symbol": "ETH/USDT", "exchange": "binance", "timeframes": ["1m"], "interval_minutes": 1}
FINISHED = "status IN ('success', 'failed', 'skipped') AND NOT closed_by_sweep"


class Stored(NamedTuple):
    """The content of the database that a backup must keep."""

    configs: set[tuple[str, ...]]
    runs: set[tuple[str, ...]]
    candles: set[tuple[str, ...]]
    others: dict[str, int]


def stored(deployment: Deployment) -> Stored:
    def rows(statement: str) -> set[tuple[str, ...]]:
        found = [tuple(row) for row in deployment.query(statement)]
        assert len(found) == len(set(found)), "a row is there twice"
        return set(found)

    return Stored(
        configs=rows("SELECT id, version, exchange, symbol, timeframes, enabled FROM data_collection_configs"),
        runs=rows(
            "SELECT run_id, config_id, status, trigger, scheduled_for, started_at, finished_at, records_collected"
            f" FROM job_execution_logs WHERE {FINISHED}"
        ),
        candles=rows(
            "SELECT series_id, open_time, open, close FROM candles WHERE open_time < now() - interval '10 min'"
        ),
        others={
            table: int(deployment.query(f"SELECT count(*) FROM {table}")[0][0])
            for table in ("api_tokens", "audit_log", "backfills")
        },
    )


def require_kept(before: Stored, after: Stored) -> None:
    """Everything that was stored is there again, and unchanged."""
    assert before.configs == after.configs
    assert before.runs <= after.runs
    assert before.candles <= after.candles
    assert all(after.others[table] >= count for table, count in before.others.items())


@pytest.fixture(scope="module")
def deployment(
    engine: Docker, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """One container of each service, although the overlay asks for more."""
    folder = tmp_path_factory.mktemp("operations")
    deployed = Deployment(engine, compose_command(engine), images, folder, overlays=OVERLAYS)
    try:
        deployed.compose("up", "--detach", "--wait", "--scale", "collector=1", "--scale", "scheduler=1", seconds=600)
        yield deployed
    finally:
        remove(deployed)


async def succeeded_since(deployment: Deployment, since: str, configs: set[str], within: float = 480.0) -> None:
    """Each of these configs has a successful run that started after this time. The longest interval is five minutes."""

    def done() -> bool:
        query = f"SELECT DISTINCT config_id FROM job_execution_logs WHERE status = 'success' AND started_at > '{since}'"
        return configs <= {row[0] for row in deployment.query(query)}

    await eventually(done, within=within, every=1)


def now_of(deployment: Deployment) -> str:
    return deployment.query("SELECT now()")[0][0]


def enabled_configs(deployment: Deployment) -> set[str]:
    return {row[0] for row in deployment.query("SELECT id FROM data_collection_configs WHERE enabled")}


async def until_whole(deployment: Deployment, within: float = 240.0) -> None:
    """The series with a history has a candle for each minute from its start date to the newest run, and its ledger says
    the same. It perhaps begins some minutes earlier, because a fetch also reads the candles around its range.
    """
    query = """
        SELECT config.start_date::timestamptz >= lower(range_merge(coverage.verified)),
          coverage.verified = multirange(range_merge(coverage.verified)),
          (SELECT count(*) FROM candles WHERE series_id = series.id)
            = extract(epoch FROM upper(coverage.verified) - lower(coverage.verified)) / 60,
          upper(coverage.verified) > now() - interval '4 min'
        FROM series JOIN coverage ON coverage.series_id = series.id
        JOIN data_collection_configs AS config USING (exchange, symbol)
        WHERE series.exchange = 'binance' AND series.symbol = 'ETH/USDT' AND series.timeframe = '1m'
    """
    seen: list[list[list[str]]] = []

    def whole() -> bool:
        seen.append(deployment.query(query))
        return seen[-1] == [["t"] * 4]

    try:
        await eventually(whole, within=within, every=2)
    except AssertionError as error:
        spans = deployment.query("SELECT series_id, verified FROM coverage")
        chunks = deployment.query("SELECT state, purpose, count(*) FROM backfill_chunks GROUP BY 1, 2")
        raise AssertionError(f"{error}: {seen[-1:]}, {spans}, {chunks}") from None


async def test_the_commands_of_the_guide_work(deployment: Deployment, tmp_path: Path) -> None:
    guide = shared_file("guide.md").read_text(encoding="utf-8")
    token = (deployment.secrets / "admin_token").read_text()

    async def exists_already() -> None:
        """The first command created it in an empty database."""

    url = f"http://127.0.0.1:{deployment.api_port}"
    responses = await run_all_curls(guide, url, token, tmp_path, exists_already)
    assert responses[CREATED][1]["id"] == 1
    async with deployment.api() as api:
        await check_curls(responses, api)


async def test_the_examples_of_the_demo_are_collected(deployment: Deployment) -> None:
    async with deployment.api() as api:
        await create_examples(api, pytest.fail)
        response = await api.post("/configs", json=HISTORY | {"start_date": await _days_ago(deployment, 2)})
        if response.status_code == httpx.codes.CONFLICT:  # the demo has this market, too
            [config] = (await api.get("/configs", params={"exchange": "binance", "symbol": "ETH/USDT"})).json()
            change = {"start_date": await _days_ago(deployment, 2)}
            response = await api.put(f"/configs/{config['id']}", json=change)
        assert response.is_success, response.text
    await succeeded_since(deployment, "-infinity", enabled_configs(deployment))


async def _days_ago(deployment: Deployment, days: int) -> str:
    [[day]] = deployment.query(f"SELECT to_char(now() - interval '{days} days', 'YYYY-MM-DD')")
    return day


def finished_runs(deployment: Deployment, since: str) -> Counter[tuple[str, str]]:
    """How often each run ended, by run id and collector, from the logs of the collectors."""
    found: Counter[tuple[str, str]] = Counter()
    for container in deployment.containers("collector"):
        for line in deployment.log_lines(container, "--since", since):
            entry: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            if entry.get("action") == "run_finished":
                found[entry["run_id"], container.id] += 1
    return found


async def test_scaled_services_share_the_work_and_run_nothing_twice(deployment: Deployment) -> None:
    deployment.compose("up", "--detach", "--wait", seconds=300)
    assert Counter(each.service for each in deployment.containers("collector", "scheduler")) == {
        "collector": 3,
        "scheduler": 2,
    }
    [[since]] = deployment.query("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
    configs = enabled_configs(deployment)
    async with deployment.api() as api:
        for config in configs:
            assert (await api.post(f"/configs/{config}/trigger")).status_code == httpx.codes.ACCEPTED
    await succeeded_since(deployment, since, configs)
    done = finished_runs(deployment, since)
    assert len(done) >= len(configs)
    assert set(Counter(run for run, _ in done).values()) == {1}, "two collectors ran the same run"
    assert set(done.values()) == {1}
    collectors = {collector for _, collector in done}
    say(f"scaled: {len(done)} runs by {len(collectors)} of 3 collectors, none twice")
    assert len(collectors) > 1


async def test_a_backup_brings_a_destroyed_deployment_back(deployment: Deployment, tmp_path: Path) -> None:
    backup = tmp_path / "candlekeep.dump"
    before = stored(deployment)
    deployment.script("backup", str(backup))
    with pytest.raises(AssertionError, match="exists"):
        deployment.script("backup", str(backup))
    configs = enabled_configs(deployment)
    await succeeded_since(deployment, now_of(deployment), configs)

    deployment.down()
    assert not deployment.leftovers()["volumes"]
    deployment.script("restore", str(backup))
    restored_at = now_of(deployment)
    require_kept(before, stored(deployment))
    say(f"restored {len(before.configs)} configs, {len(before.runs)} runs and {len(before.candles)} candles")

    await succeeded_since(deployment, restored_at, configs)
    require_kept(before, stored(deployment))
    await until_whole(deployment)


async def test_a_restore_replaces_nothing_by_default(deployment: Deployment, tmp_path: Path) -> None:
    backup = tmp_path / "second.dump"
    deployment.script("backup", str(backup))
    with pytest.raises(AssertionError, match="REPLACE=yes"):
        deployment.script("restore", str(backup))
    assert all(each.is_healthy for each in deployment.containers("admin-api", "collector", "scheduler"))
    with backup.open("ab") as file:
        file.write(b"x")
    with pytest.raises(AssertionError, match="damaged"):
        deployment.script("restore", str(backup), REPLACE="yes")


async def test_an_empty_kafka_is_filled_from_the_database(deployment: Deployment) -> None:
    before = stored(deployment)
    deployment.compose("kill", "kafka")
    deployment.script("rebuild-kafka")
    rebuilt_at = now_of(deployment)
    require_kept(before, stored(deployment))
    await succeeded_since(deployment, rebuilt_at, enabled_configs(deployment))
    require_kept(before, stored(deployment))
    await until_whole(deployment)


def test_down_leaves_nothing(deployment: Deployment) -> None:
    deployment.down()
    assert deployment.leftovers() == {"containers": [], "volumes": [], "networks": []}
