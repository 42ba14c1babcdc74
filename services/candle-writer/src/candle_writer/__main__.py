"""`python -m candle_writer`."""

from candle_writer.app import NAME, build_worker
from candle_writer.settings import CandleWriterSettings
from runtime.process.worker import run

if __name__ == "__main__":
    run(NAME, CandleWriterSettings, build_worker)
