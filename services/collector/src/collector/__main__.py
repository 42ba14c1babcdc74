"""`python -m collector`"""

from collector.app import NAME, build_worker
from collector.settings import CollectorSettings
from runtime.process.worker import run

if __name__ == "__main__":
    run(NAME, CollectorSettings, build_worker)
