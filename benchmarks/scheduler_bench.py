"""Compares the scheduler with APScheduler 3, for 100,000 configs with a ten-minute interval.

    python -m benchmarks.scheduler_bench [--quick]

Our side is the whole service as a process. It restores its state from the topics, Kafka acknowledges each tick, and the
state is published. Its metrics are read from outside. APScheduler runs empty jobs in a separate process. Its job store
is in memory (with the same number of jobs and the same interval), and in Postgres (with 1,000 and 5,000 jobs per
minute, because it is too slow for more).
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import psutil
from benchmarks.infrastructure import a_kafka, a_postgres
from benchmarks.report import Row, table

from contracts.configs import CollectionConfig, ConfigChanged
from contracts.coverage import progress_of_version_1
from contracts.schedule import JobScheduled
from contracts.topics import CONFIG_CHANGES, SCHEDULE_STATE
from local_stack.ports import free_port
from runtime.kafka.clients import build_broker
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings

INTERVAL_MINUTES = 10
TIMEFRAMES = ("1m", "5m", "1h")
EXCHANGES = ("binance", "kraken", "coinbase", "bybit", "okx", "kucoin", "bitstamp", "bitget", "mexc", "htx")
_TARGET_MS = 25
_BATCH = 2000
_WARM_UP_SECONDS = 5.0
_LATENESS = "candlekeep_scheduler_tick_lateness_seconds_bucket"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The measured values of one process under load. CPU is a share of one core."""

    fired: int
    p50_ms: float
    p99_ms: float
    cpu_share: float
    rss_mb: float
    load_seconds: float
    seconds: float

    @property
    def cpu_ms_per_tick(self) -> float:
        return self.cpu_share * self.seconds * 1000 / self.fired


def main(*, quick: bool = False) -> list[Row]:
    """Takes about six minutes; with `quick` (fewer configs) about two."""
    return asyncio.run(_compare(configs=20_000 if quick else 100_000, seconds=20 if quick else 60))


async def _compare(configs: int, seconds: int) -> list[Row]:
    async with a_kafka() as kafka:
        _log(f"filling Kafka with {configs:,} configs")
        await _fill(kafka, configs)
        _log(f"measuring the scheduler for {seconds} s{_load_warning()}")
        ours = await _measure_ours(kafka, seconds)
    memory = await _measure_apscheduler("memory", "", configs, INTERVAL_MINUTES * 60, seconds)
    stored = {}
    async with a_postgres() as url:
        for jobs in (1_000, 5_000):
            stored[jobs] = await _measure_apscheduler("postgres", url, jobs, 60, min(seconds, 45))
    return list(_rows(configs, ours, memory, stored))


def _rows(configs: int, ours: Measured, memory: Measured, stored: dict[int, Measured]) -> Iterator[Row]:
    rate = configs // INTERVAL_MINUTES
    baseline = f"APScheduler with its jobs in memory, also {configs:,}"
    yield Row.compare("scheduler: lateness p50", ours.p50_ms, memory.p50_ms, "ms", baseline)
    yield Row.compare("scheduler: lateness p99", ours.p99_ms, memory.p99_ms, "ms", baseline, ours_below=_TARGET_MS)
    for jobs, found in stored.items():
        baseline = f"APScheduler with Postgres at {jobs:,} jobs/min, ours at {rate:,}"
        yield Row.compare("scheduler: lateness p50", ours.p50_ms, found.p50_ms, "ms", baseline)
        yield Row.compare("scheduler: lateness p99", ours.p99_ms, found.p99_ms, "ms", baseline)
        yield Row.compare("scheduler: CPU per tick", ours.cpu_ms_per_tick, found.cpu_ms_per_tick, "ms", baseline)
    baseline = f"at {rate:,}/min; APScheduler with its jobs in memory"
    yield Row.compare("scheduler: CPU", ours.cpu_share * 100, memory.cpu_share * 100, "% of a core", baseline)
    yield Row.compare("scheduler: memory", ours.rss_mb, memory.rss_mb, "MB", baseline)
    yield Row.compare("scheduler: start until all are loaded", ours.load_seconds, memory.load_seconds, "s", baseline)


# ---- ours ----


async def _fill(settings: KafkaSettings, configs: int) -> None:
    """Fill the topics as if this number of configs had been scheduled for a while."""
    broker = build_broker(settings, "bench")
    await broker.start()
    publisher, now = EventPublisher(broker, settings, "bench"), datetime.now(UTC)
    for first in range(1, configs + 1, _BATCH):
        ids = range(first, min(first + _BATCH, configs + 1))
        await publisher.publish_many(CONFIG_CHANGES, [_config(config_id, now) for config_id in ids])
        await publisher.publish_many(SCHEDULE_STATE, [_state(config_id, now) for config_id in ids])
    await broker.stop()


def _market(config_id: int) -> tuple[str, str]:
    return EXCHANGES[config_id % len(EXCHANGES)], f"C{config_id}/USDT"


def _config(config_id: int, now: datetime) -> ConfigChanged:
    exchange, symbol = _market(config_id)
    config = CollectionConfig(
        config_id=config_id,
        version=1,
        exchange=exchange,
        symbol=symbol,
        timeframes=TIMEFRAMES,
        interval_minutes=INTERVAL_MINUTES,
        enabled=True,
        updated_at=now,
    )
    return ConfigChanged(occurred_at=now, config=config)


def _state(config_id: int, now: datetime) -> JobScheduled:
    exchange, symbol = _market(config_id)
    return JobScheduled(
        occurred_at=now,
        config_id=config_id,
        config_version=1,
        exchange=exchange,
        symbol=symbol,
        timeframes=TIMEFRAMES,
        interval_minutes=INTERVAL_MINUTES,
        active=True,
        last_slot=now,
        next_fire_at=None,
        progress=progress_of_version_1(TIMEFRAMES, now),
    )


async def _measure_ours(settings: KafkaSettings, seconds: int) -> Measured:
    started = time.monotonic()
    async with _scheduler(settings) as (process, port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        await _until_live(http)
        loaded = time.monotonic() - started
        await asyncio.sleep(_WARM_UP_SECONDS)  # slots that were due during the restore are late, and are not measured
        before, cpu = _buckets((await http.get("/metrics")).text), process.cpu_times()
        await asyncio.sleep(seconds)
        after, used = _buckets((await http.get("/metrics")).text), process.cpu_times()
        spent = {edge: after[edge] - before.get(edge, 0) for edge in after}
        return Measured(
            fired=round(spent[float("inf")]),
            p50_ms=_quantile(spent, 0.5) * 1000,
            p99_ms=_quantile(spent, 0.99) * 1000,
            cpu_share=(used.user + used.system - cpu.user - cpu.system) / seconds,
            rss_mb=process.memory_info().rss / 1e6,
            load_seconds=loaded,
            seconds=seconds,
        )


@contextlib.asynccontextmanager
async def _scheduler(settings: KafkaSettings) -> AsyncIterator[tuple[psutil.Process, int]]:
    port = free_port()
    variables = {name.upper(): str(value) for name, value in settings.model_dump().items()}
    # Spread over the whole interval, so that all minutes have the same load.
    variables |= {"HTTP_PORT": str(port), "SCHEDULE_SPREAD_SECONDS": str(INTERVAL_MINUTES * 60), "LOG_LEVEL": "WARNING"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "scheduler", env={**os.environ, **variables})
    try:
        yield psutil.Process(process.pid), port
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 60)


async def _until_live(http: httpx.AsyncClient) -> None:
    live = re.compile(rf"^candlekeep_scheduler_partitions_live {CONFIG_CHANGES.partitions}\.0$", re.MULTILINE)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if live.search((await http.get("/metrics")).text):
                return
        await asyncio.sleep(0.1)
    raise TimeoutError("the scheduler was not live within two minutes")


def _buckets(metrics: str) -> dict[float, float]:
    """The lateness histogram: the number of ticks up to each upper bound in seconds."""
    found = re.findall(rf'^{_LATENESS}{{le="(\S+)"}} (\S+)', metrics, re.MULTILINE)
    return {float(edge): float(count) for edge, count in found}


def _quantile(cumulative: dict[float, float], share: float) -> float:
    """Interpolates linearly within the bucket, as Prometheus does. The buckets near the target are narrow."""
    wanted, lower, below = share * cumulative[float("inf")], 0.0, 0.0
    for edge in sorted(cumulative):
        if cumulative[edge] >= wanted and cumulative[edge] > below:
            part = (wanted - below) / (cumulative[edge] - below)
            return (
                lower + (min(edge, 2 * lower) - lower) * part if edge == float("inf") else lower + (edge - lower) * part
            )
        lower, below = edge, cumulative[edge]
    return lower


# ---- the baseline ----


async def _measure_apscheduler(store: str, url: str, jobs: int, interval: int, seconds: int) -> Measured:
    arguments = {"store": store, "url": url, "jobs": jobs, "interval": interval, "seconds": seconds}
    options = [text for name, value in arguments.items() if value for text in (f"--{name}", str(value))]
    _log(f"measuring APScheduler with {jobs:,} jobs in {store} for {seconds} s{_load_warning()}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.apscheduler_baseline", *options, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds + 180)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"APScheduler ended with exit code {process.returncode}; its output is above")
    values = json.loads(output)
    del values["dropped"]
    return Measured(**values, seconds=seconds)


def _load_warning() -> str:
    """A warning if other processes use the processor: low lateness needs a free core when a slot is due."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    return (
        f" (load average {load:.1f} on {cores} cores: the measured lateness will be too high)" if load > cores else ""
    )


def _log(message: str) -> None:
    print(f"scheduler: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduler_bench")
    parser.add_argument("--quick", action="store_true", help="fewer configs, about two minutes")
    print(table(main(quick=parser.parse_args().quick)))
