from backfiller.app import NAME, build_worker
from backfiller.settings import BackfillerSettings
from runtime.process.worker import run

if __name__ == "__main__":
    run(NAME, BackfillerSettings, build_worker)
