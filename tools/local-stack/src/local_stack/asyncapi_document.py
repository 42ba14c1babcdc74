"""`python -m local_stack.asyncapi_document`: writes docs/asyncapi.json, with what every service sends and receives.

The subscriptions of log-writer, candle-writer and the backfiller come from their FastStream brokers, the rest from the
contracts.
"""

import argparse
import sys
from pathlib import Path

import backfiller.app
import candle_writer.app
import log_writer.app
from backfiller.settings import BackfillerSettings
from candle_writer.settings import CandleWriterSettings
from contracts.topics import ALL_TOPICS
from log_writer.settings import LogWriterSettings
from runtime.kafka.asyncapi import brokers_of, describing_broker, document, dump, specification
from runtime.settings import KafkaSettings

PATH = Path("docs/asyncapi.json")
_KAFKA = "kafka:9092"
_DATABASE = "postgresql://postgres/candlekeep"  # never opened


def text() -> str:
    """The whole file."""
    workers = (
        log_writer.app.build_worker(LogWriterSettings(kafka_bootstrap_servers=_KAFKA, database_url=_DATABASE)),
        candle_writer.app.build_worker(CandleWriterSettings(kafka_bootstrap_servers=_KAFKA, database_url=_DATABASE)),
        backfiller.app.build_worker(BackfillerSettings(kafka_bootstrap_servers=_KAFKA, database_url=_DATABASE)),
    )
    brokers = [
        each
        for worker in workers
        if worker.broker is not None
        for each in brokers_of(worker.name, worker.settings, worker.broker)
    ]
    described = {service for topic in ALL_TOPICS for service in (*topic.producers, *topic.consumers)}
    described -= {worker.name for worker in workers}
    settings = KafkaSettings(kafka_bootstrap_servers=_KAFKA)
    brokers += [describing_broker(service, settings) for service in sorted(described)]
    return dump(document(specification(*brokers)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path, nargs="?", default=Path())
    target = parser.parse_args().repository / PATH
    wanted = text()
    if not target.is_file() or target.read_text(encoding="utf-8") != wanted:
        target.write_text(wanted, encoding="utf-8")
        sys.stdout.write(f"wrote {PATH}\n")


if __name__ == "__main__":
    main()
