"""Measures APScheduler 3 with empty jobs, as the baseline of the scheduler.

    python -m benchmarks.apscheduler_baseline --store postgres --jobs 1000 --interval 60 --seconds 45 --url postgresql://...

Prints one line of JSON. Lateness is the time from a job's slot to its end.
"""

import argparse
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

WARM_UP_SECONDS = 5.0


def empty_job() -> None:
    """The empty job."""


def measure(store: str, url: str, jobs: int, interval: float, seconds: float) -> dict[str, float]:
    url = url.replace("postgresql://", "postgresql+psycopg2://")
    stores = {
        "default": SQLAlchemyJobStore(url=url, tablename=f"jobs_{jobs}") if store == "postgres" else MemoryJobStore()
    }
    scheduler = BackgroundScheduler(
        jobstores=stores,
        executors={"default": ThreadPoolExecutor(20)},
        job_defaults={"coalesce": True, "max_instances": 3, "misfire_grace_time": None},
        timezone=UTC,
    )
    lateness: list[float] = []
    dropped = [0]
    lock, measuring = threading.Lock(), threading.Event()

    def executed(event: JobExecutionEvent) -> None:
        late = time.time() - event.scheduled_run_time.timestamp()
        if measuring.is_set():
            with lock:
                lateness.append(late)

    def dropped_job(_event: Any) -> None:
        dropped[0] += 1

    scheduler.add_listener(executed, EVENT_JOB_EXECUTED)
    scheduler.add_listener(dropped_job, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
    started = time.monotonic()
    scheduler.start(paused=True)
    # All first runs are after the loading, evenly spread over one interval.
    first = datetime.now(UTC) + timedelta(seconds=5 + jobs * (0.003 if store == "postgres" else 0.0006))
    for number in range(jobs):
        start = first + timedelta(seconds=interval * number / jobs)
        scheduler.add_job(empty_job, "interval", seconds=interval, start_date=start, id=f"collect_data_{number}")
    loaded = time.monotonic() - started
    scheduler.resume()
    time.sleep(max(0.0, (first - datetime.now(UTC)).total_seconds()) + WARM_UP_SECONDS)
    process = psutil.Process(os.getpid())
    cpu = process.cpu_times()
    measuring.set()
    time.sleep(seconds)
    measuring.clear()
    used = process.cpu_times()
    rss = process.memory_info().rss
    with lock:
        found = sorted(lateness)
    print(  # before the shutdown, which may take long
        json.dumps(
            {
                "fired": len(found),
                "dropped": dropped[0],
                "p50_ms": _quantile(found, 0.5) * 1000,
                "p99_ms": _quantile(found, 0.99) * 1000,
                "cpu_share": (used.user + used.system - cpu.user - cpu.system) / seconds,
                "rss_mb": rss / 1e6,
                "load_seconds": loaded,
            }
        ),
        flush=True,
    )
    os._exit(0)


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.apscheduler_baseline")
    arguments.add_argument("--store", choices=["memory", "postgres"], required=True)
    arguments.add_argument("--url", default="")
    arguments.add_argument("--jobs", type=int, required=True)
    arguments.add_argument("--interval", type=float, required=True)
    arguments.add_argument("--seconds", type=float, required=True)
    measure(**vars(arguments.parse_args()))


if __name__ == "__main__":
    main()
