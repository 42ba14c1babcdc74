"""`python -m log_writer`."""

from log_writer.app import NAME, build_worker
from log_writer.settings import LogWriterSettings
from runtime.worker import run

if __name__ == "__main__":
    run(NAME, LogWriterSettings, build_worker)
