"""The command `python -m runtime.dead_letters` with dead letters of consumers."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from contracts.dead_letters import DeadLetter
from contracts.topics import CANDLES, DEAD_LETTERS, TICKS
from runtime.dead_letters.__main__ import app
from runtime.dead_letters.replays import REPLAYED_FROM
from runtime.kafka.clients import build_admin, topic_name
from runtime.kafka.codec import encode
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings
from support.consuming import Equipment, a_tick
from support.kafka import read_topic
from support.records import a_record

pytestmark = pytest.mark.kafka


def environment(settings: KafkaSettings) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": settings.kafka_topic_prefix,
        "KAFKA_FETCH_MAX_WAIT_MS": str(settings.kafka_fetch_max_wait_ms),
        "COLUMNS": "140",
    }


async def command(settings: KafkaSettings, *arguments: str, answer: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    result = await asyncio.to_thread(
        CliRunner().invoke, app, list(arguments), env=environment(settings), input=answer or None
    )
    return result.exit_code, result.stdout, result.stderr


async def store_dead_letters(settings: KafkaSettings, equipment: Equipment, *values: bytes | None) -> None:
    """Store one dead letter per value, as from consecutive offsets of a partition of `ticks`."""
    for offset, value in enumerate(values):
        record = a_record(
            topic=topic_name(settings, TICKS),
            partition=5,
            offset=offset,
            value=value,
            headers=(("ce_type", b"TickDue"),),
        )
        await equipment.dead_letters.send_unreadable(record, f"cannot read {offset}")


async def ids(settings: KafkaSettings) -> list[str]:
    _, output, _ = await command(settings, "list", "--json")
    return [json.loads(line)["id"] for line in output.splitlines()]


async def test_dead_letters_can_be_listed_and_shown(kafka_settings: KafkaSettings, equipment: Equipment) -> None:
    assert await command(kafka_settings, "list") == (0, "No dead letters.\n", "")
    await store_dead_letters(kafka_settings, equipment, b'{"a": 1}', b"\xff" * 900_000)
    code, output, _ = await command(kafka_settings, "list")
    heading, first, second, summary = output.splitlines()
    assert (code, heading[:2], summary) == (0, "id", "2 dead letters.")
    assert f"{topic_name(kafka_settings, TICKS)}/5/0  collector  1      cannot read 0" in first
    assert "cannot read 1" in second
    assert (await command(kafka_settings, "list", "--limit", "1"))[1].splitlines()[1:] == [
        second,
        "2 dead letters; these are the newest 1, --limit shows more.",
    ]
    code, output, _ = await command(kafka_settings, "show", first.split()[0])
    assert code == 0
    for part in ("error      cannot read 0", "key        binance", "header     ce_type: TickDue", '  "a": 1'):
        assert part in output


async def test_dead_letters_are_found_by_topic_and_time(kafka_settings: KafkaSettings, equipment: Equipment) -> None:
    await store_dead_letters(kafka_settings, equipment, b"0")
    first = (await read_topic(kafka_settings, DEAD_LETTERS))[0].event
    assert isinstance(first, DeadLetter)
    await asyncio.sleep(0.01)  # so that the times differ
    await store_dead_letters(kafka_settings, equipment, b"1")
    later = (first.occurred_at + timedelta(milliseconds=2)).isoformat()

    async def found(*options: str) -> list[str]:
        code, output, problem = await command(kafka_settings, "list", "--json", *options)
        assert (code, problem) == (0, "")
        return [json.loads(line)["source_value"] for line in output.splitlines()]

    zero, one = "MA==", "MQ=="
    assert await found("--topic", "ticks") == [zero, one]
    assert await found("--topic", topic_name(kafka_settings, TICKS), "--since", "1h") == [zero, one]
    assert await found("--topic", CANDLES.name) == []
    assert await found("--since", later) == [one]
    assert await found("--until", later) == [zero]
    assert await found("--until", "1h") == []
    assert await found("--since", "2100-01-01") == []


async def test_a_replay_publishes_the_original_message_to_its_source(
    kafka_settings: KafkaSettings, equipment: Equipment
) -> None:
    value = encode(a_tick(7))[0]
    await store_dead_letters(kafka_settings, equipment, value)
    await store_dead_letters(kafka_settings, equipment, value)  # again, as after a restart
    dead_letter_id = (await ids(kafka_settings))[0]
    code, output, _ = await command(kafka_settings, "replay", "--topic", "ticks", "--dry-run")
    assert (code, await read_topic(kafka_settings, TICKS)) == (0, [])
    assert "To publish: 1 to " in output
    code, output, _ = await command(kafka_settings, "replay", "--topic", "ticks", answer="n\n")
    assert (code, await read_topic(kafka_settings, TICKS)) == (1, [])
    assert "Publish this message?" in output

    code, output, _ = await command(kafka_settings, "replay", "--topic", "ticks", answer="y\n")
    assert (code, output.splitlines()[-1]) == (
        0,
        "Published 1 of 1. Doing it again is safe: consumers are idempotent.",
    )
    (replayed,) = await read_topic(kafka_settings, TICKS)
    assert (replayed.partition, replayed.key) == (5, "binance")
    assert encode(replayed.event or a_tick())[0] == value
    assert replayed.headers == {"ce_type": "TickDue", REPLAYED_FROM: f"dead-letters/{dead_letter_id.replace('-', '/')}"}


async def test_dead_letters_can_be_replayed_by_id_and_others_are_skipped(
    kafka_settings: KafkaSettings, equipment: Equipment, publisher: EventPublisher
) -> None:
    await store_dead_letters(kafka_settings, equipment, encode(a_tick(1))[0], encode(a_tick(2))[0])
    await equipment.dead_letters.send_unreadable(a_record(topic="elsewhere"), "of another system")
    await publisher.publish_raw(DEAD_LETTERS, key="x", value=b"?", headers={})
    code, output, problem = await command(kafka_settings, "replay", "--since", "1h", "--yes")
    assert code == 1
    assert output.splitlines()[-1].startswith("Published 2 of 3, 1 skipped.")
    assert "elsewhere/0/0 is not in a topic of this system" in problem
    assert "Skipped records of the topic that are not dead letters: 1." in problem
    assert len(await read_topic(kafka_settings, TICKS)) == 2
    by_id = (await ids(kafka_settings))[:1]
    assert (await command(kafka_settings, "replay", *by_id, "--yes"))[0] == 0
    assert len(await read_topic(kafka_settings, TICKS)) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "7-1"), 1, "There is no dead letter 7-1: partitions are 0 to 2."),
        (("show", "1-9"), 1, "There is no dead letter 1-9: partition 1 is empty."),
        (("show", "one"), 2, "'one' is not the id of a dead letter, such as 1-42"),
        (("list", "--since", "soon"), 2, "'soon' is neither a time such as"),
        (("list", "--topic", "tikcs"), 2, "'tikcs' is not a topic of this system: config-changes, "),
        (("replay", "--yes"), 2, "Give either ids of dead letters, or a filter"),
        (("replay", "1-1", "--since", "1h"), 2, "Give either ids of dead letters, or a filter"),
    ],
)
async def test_a_wrong_argument_gets_an_error_of_one_line(
    kafka_settings: KafkaSettings, arguments: tuple[str, ...], code: int, says: str
) -> None:
    exit_code, output, problem = await command(kafka_settings, *arguments)
    assert (exit_code, output) == (code, "")
    assert problem.startswith(says)
    assert problem.count("\n") == 1


@pytest.mark.real_kafka  # the in-memory broker cannot list its groups
async def test_reading_leaves_no_consumer_group_behind(kafka_settings: KafkaSettings, equipment: Equipment) -> None:
    await store_dead_letters(kafka_settings, equipment, b"0")
    await command(kafka_settings, "list", "--since", "1h")
    admin = build_admin(kafka_settings)
    await admin.start()
    try:
        groups = [name for name, *_ in await admin.list_consumer_groups()]
    finally:
        await admin.close()
    assert not [name for name in groups if "dead" in name or name.startswith(kafka_settings.kafka_topic_prefix)]


def test_an_unreachable_kafka_is_reported_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runtime.dead_letters", "list"],
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Kafka does not respond at 127.0.0.1:1 (KAFKA_BOOTSTRAP_SERVERS): ")
    assert len(done.stderr.splitlines()) == 1
