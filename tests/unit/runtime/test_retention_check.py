import structlog
from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry

from runtime.consumers.retention_check import RetentionCheck
from runtime.metrics import ConsumerMetrics

ZERO = TopicPartition("candles", 0)


class Checked:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.check = RetentionCheck("candle-writer", ConsumerMetrics(self.registry))

    def deleted(self) -> float:
        labels = {"consumer": "candle-writer", "topic": "candles"}
        return self.registry.get_sample_value("candlekeep_consumer_deleted_unread_total", labels) or 0


def test_an_offset_that_kafka_still_has_is_not_reported() -> None:
    checked = Checked()
    with structlog.testing.capture_logs() as lines:
        checked.check.compare({ZERO: 7}, {ZERO: 7})
        checked.check.compare({ZERO: 7}, {ZERO: 3})
        checked.check.compare({ZERO: 7}, {})
    assert (lines, checked.deleted()) == ([], 0)


def test_a_deleted_offset_is_reported_with_all_that_is_needed_to_inspect_it() -> None:
    checked = Checked()
    with structlog.testing.capture_logs() as lines:
        checked.check.compare({ZERO: 7}, {ZERO: 19})
    (line,) = lines
    assert line["log_level"] == "error"
    assert "docs/runbook.md#retention-has-overtaken-a-consumer" in line["event"]
    assert {key: line[key] for key in ("group", "topic", "partition", "committed", "beginning")} == {
        "group": "candle-writer",
        "topic": "candles",
        "partition": 0,
        "committed": 7,
        "beginning": 19,
    }
    assert line["messages_lost_at_most"] == checked.deleted() == 12


def test_each_deleted_message_is_counted_once() -> None:
    checked = Checked()
    for beginning in (10, 10, 15, 15):
        checked.check.compare({ZERO: 7}, {ZERO: beginning})
    assert checked.deleted() == 8


def test_a_recreated_topic_is_counted_again() -> None:
    checked = Checked()
    checked.check.compare({ZERO: 7}, {ZERO: 1000})
    checked.check.compare({ZERO: 5}, {ZERO: 0})
    checked.check.compare({ZERO: 5}, {ZERO: 9})
    assert checked.deleted() == 993 + 4
