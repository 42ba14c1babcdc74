"""`python -m scheduler`."""

from runtime.process.worker import run
from scheduler.app import NAME, build_worker
from scheduler.settings import SchedulerSettings

if __name__ == "__main__":
    run(NAME, SchedulerSettings, build_worker)
