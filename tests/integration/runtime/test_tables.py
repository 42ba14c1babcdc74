"""Tables and live topics that are read by one owner per partition."""

import asyncio
from collections import Counter

import pytest

from contracts.configs import ConfigRemoved
from contracts.dead_letters import DeadLetter
from contracts.event import Event
from contracts.runs import RunStarted
from contracts.topics import CONFIG_CHANGES, DEAD_LETTERS, RUN_EVENTS, SCHEDULE_STATE, Topic
from runtime.consumers.tables import CoPartitionedTables
from runtime.kafka.publisher import EventPublisher
from runtime.settings import KafkaSettings
from support.consuming import NOON, Equipment, committed
from support.kafka import delete_records, read_topic, recording
from support.polling import eventually
from support.table_owners import ALL, RecordingOwner, a_run_start, a_state, changes, committed_runs, running, tables_of

pytestmark = pytest.mark.kafka


async def test_tables_are_restored_before_a_partition_is_live_and_changes_follow(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    await publisher.publish_many(CONFIG_CHANGES, changes(range(1, 301)))
    await publisher.publish_many(SCHEDULE_STATE, [a_state(number) for number in range(1, 301)])
    await publisher.publish(CONFIG_CHANGES, ConfigRemoved(occurred_at=NOON, config_id=7, version=2))
    await publisher.tombstone(CONFIG_CHANGES, "7")
    await publisher.publish(RUN_EVENTS, a_run_start(1))
    owner = RecordingOwner()
    async with running(tables_of(kafka_settings, equipment, owner)) as tables:
        await eventually(lambda: tables.live_partitions == ALL, within=20)
        assert owner.live == ALL
        assert owner.configs() == {str(number) for number in range(1, 301)} - {"7"}
        assert len(owner.states) == 300
        assert len(owner.read_before_live) == 601, "every table record came before its partition was live"
        await eventually(lambda: len(owner.runs) == 1)  # without a commit, live topics are read from the beginning
        assert tables.ownership_confirmed()
        assert (tables.readiness(), tables.liveness()) == (None, None)

        await publisher.publish(RUN_EVENTS, a_run_start(2))
        await publisher.publish(CONFIG_CHANGES, changes(range(1000, 1001))[0])
        await eventually(lambda: len(owner.runs) == 2)
        await eventually(lambda: "1000" in owner.configs())
    assert owner.live == set()
    assert owner.calls == ["revoked 12"]


async def test_live_topics_continue_at_the_commit_of_the_group(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    first = RecordingOwner()
    async with running(tables_of(kafka_settings, equipment, first)) as tables:
        await eventually(lambda: tables.live_partitions == ALL, within=20)
        await publisher.publish(RUN_EVENTS, a_run_start(1))
        await eventually(lambda: len(first.runs) == 1)
    await publisher.publish_many(RUN_EVENTS, [a_run_start(number) for number in range(2, 30)])
    second = RecordingOwner()
    async with running(tables_of(kafka_settings, Equipment(equipment.publisher), second)):
        await eventually(lambda: len(second.runs) >= 28, within=20)
    assert {run.config_id for run in second.runs if isinstance(run, RunStarted)} == set(range(2, 30))


@pytest.mark.real_kafka  # the in-memory broker races when several members join
async def test_a_second_instance_takes_half_of_the_partitions_and_the_first_rereads_nothing(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    await publisher.publish_many(CONFIG_CHANGES, changes(range(1, 1001)))
    one, two = RecordingOwner(), RecordingOwner()
    async with running(tables_of(kafka_settings, equipment, one)) as first:
        await eventually(lambda: first.live_partitions == ALL, within=20)
        assert one.read == 1000
        async with running(tables_of(kafka_settings, Equipment(publisher), two)) as second:
            await eventually(lambda: len(first.live_partitions) == len(second.live_partitions) == 6, within=30)
            assert first.live_partitions | second.live_partitions == ALL
            assert one.read == 1000, "it continued with its own half and read nothing again"
            assert one.calls[:2] == ["revoked 12", "dropped 6"]
            assert one.configs().isdisjoint(two.configs())
            assert one.configs() | two.configs() == {str(number) for number in range(1, 1001)}
            second_half = two.read
            await publisher.publish_many(CONFIG_CHANGES, changes(range(2000, 2100)))
            await eventually(lambda: len(one.configs()) + len(two.configs()) == 1100)
        await eventually(lambda: first.live_partitions == ALL, within=30)
        assert len(one.configs()) == 1100
        assert one.read == 1100 + second_half, (
            "it reads the returned half from the beginning, and of its own half only new messages"
        )


async def test_a_killed_instance_is_replaced_after_the_session_timeout(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    await publisher.publish_many(CONFIG_CHANGES, changes(range(1, 101)))
    one, two = RecordingOwner(), RecordingOwner()
    dead = tables_of(kafka_settings, equipment, one)
    task = asyncio.create_task(dead.run())
    await eventually(lambda: dead.live_partitions == ALL, within=20)
    assert dead.ownership_confirmed()
    await stop_heartbeats(dead)
    async with running(tables_of(kafka_settings, Equipment(publisher), two)) as successor:
        await eventually(lambda: not dead.ownership_confirmed(), within=10)
        assert not successor.live_partitions, "the old owner stops before the new one starts"
        await eventually(lambda: successor.live_partitions == ALL, within=30)
    assert len(two.configs()) == 100
    task.cancel()
    await asyncio.wait([task])


async def stop_heartbeats(tables: CoPartitionedTables) -> None:
    """Like a broken network: heartbeats get no response, and no error is reported."""
    coordinator = tables._consumer._coordinator

    async def unanswered() -> bool:
        await asyncio.Event().wait()
        return False

    coordinator._do_heartbeat = unanswered
    coordinator.request_rejoin = lambda: None
    heartbeat = coordinator._heartbeat_task
    coordinator._heartbeat_task = asyncio.create_task(asyncio.Event().wait())
    heartbeat.cancel()
    await asyncio.wait([heartbeat])


async def test_an_unreadable_message_of_a_table_becomes_one_dead_letter_in_spite_of_restarts(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    await publisher.publish_raw(CONFIG_CHANGES, key="5", value=b"?", headers={})
    await publisher.publish(CONFIG_CHANGES, changes(range(5, 6))[0])
    async with recording(kafka_settings, DEAD_LETTERS) as recorder:
        for _ in range(2):
            owner = RecordingOwner()
            async with running(tables_of(kafka_settings, Equipment(publisher), owner)) as tables:
                await eventually(lambda tables=tables: tables.live_partitions == ALL, within=20)
                assert owner.configs() == {"5"}
        await publisher.publish_raw(CONFIG_CHANGES, key="6", value=b"??", headers={})
        async with running(tables_of(kafka_settings, Equipment(publisher), RecordingOwner())):
            letters = await recorder.await_events(DeadLetter, 2, within=20)
    assert [letter.source_key for letter in letters] == ["NQ==", "Ng=="]


async def test_an_owner_that_fails_on_a_message_receives_the_next_one(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    class FailingOwner(RecordingOwner):
        def on_record(self, partition: int, topic: Topic, key: str, event: Event | None) -> None:
            if key == "13":
                raise LookupError("thirteen")
            super().on_record(partition, topic, key, event)

    await publisher.publish_many(CONFIG_CHANGES, changes(range(1, 31)))
    owner = FailingOwner()
    async with (
        recording(kafka_settings, DEAD_LETTERS) as recorder,
        running(tables_of(kafka_settings, equipment, owner)) as tables,
    ):
        await eventually(lambda: tables.live_partitions == ALL, within=20)
        letter = await recorder.await_event(DeadLetter)
    assert letter.error == "LookupError: thirteen"
    assert len(owner.configs()) == 29


async def test_an_unconfirmed_hand_over_commits_nothing_and_the_next_owner_reads_again(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    first = RecordingOwner(may_commit=False)
    async with running(tables_of(kafka_settings, equipment, first)) as tables:
        await eventually(lambda: tables.live_partitions == ALL, within=20)
        await eventually(lambda: committed_runs(kafka_settings, {0}), within=20)
        await publisher.publish(RUN_EVENTS, a_run_start(1))
        await eventually(lambda: len(first.runs) == 1)
    second = RecordingOwner()
    async with running(tables_of(kafka_settings, Equipment(publisher), second)):
        await eventually(lambda: second.runs == first.runs, within=20)
    await committed_runs(kafka_settings, {0, 1})


async def test_a_message_whose_effects_are_not_published_is_not_committed_and_others_are(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def offsets_are(expected: dict[int, int]) -> bool:
        stored = await committed(kafka_settings, "scheduler", RUN_EVENTS)
        assert {number: offset for number, (offset, _) in stored.items()} == expected
        return True

    monkeypatch.setattr("runtime.consumers.tables._COMMIT_SECONDS", 0.1)
    owner = RecordingOwner()
    async with running(tables_of(kafka_settings, equipment, owner)) as tables:
        await eventually(lambda: tables.live_partitions == ALL, within=20)
        await eventually(lambda: committed_runs(kafka_settings, {0}), within=20)
        owner.not_published = set(range(6))
        await publisher.publish_many(RUN_EVENTS, [a_run_start(number) for number in range(1, 61)])
        await eventually(lambda: len(owner.runs) == 60)
        ends = Counter(each.partition for each in await read_topic(kafka_settings, RUN_EVENTS))
        await eventually(lambda: offsets_are({number: ends[number] if number >= 6 else 0 for number in ALL}))
        owner.not_published = set()
        await eventually(lambda: offsets_are({number: ends[number] for number in ALL}))


async def test_an_owner_that_exceeds_the_hand_over_timeout_commits_nothing(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(RecordingOwner):
        async def on_revoked(self, partitions: set[int]) -> bool:
            await asyncio.Event().wait()
            return await super().on_revoked(partitions)

    monkeypatch.setattr("runtime.consumers.tables._REVOKE_SECONDS", 0.2)
    owner = Slow()
    async with running(tables_of(kafka_settings, equipment, owner)) as tables:
        await eventually(lambda: tables.live_partitions == ALL, within=20)
        await eventually(lambda: committed_runs(kafka_settings, {0}), within=20)
        await publisher.publish(RUN_EVENTS, a_run_start(1))
        await eventually(lambda: len(owner.runs) == 1)
    assert await committed_runs(kafka_settings, {0})


@pytest.mark.real_kafka  # the in-memory broker deletes no records
async def test_messages_of_live_topics_that_retention_deleted_unread_are_reported(
    kafka_settings: KafkaSettings, publisher: EventPublisher, equipment: Equipment
) -> None:
    first = RecordingOwner()
    async with running(tables_of(kafka_settings, equipment, first)) as tables:
        await eventually(lambda: tables.live_partitions == ALL, within=20)
        await publisher.publish(RUN_EVENTS, a_run_start(1))
        await eventually(lambda: len(first.runs) == 1)
    await publisher.publish_many(RUN_EVENTS, [a_run_start(1) for _ in range(9)])
    await delete_records(kafka_settings, RUN_EVENTS, 8)
    later, second = Equipment(publisher), RecordingOwner()
    async with running(tables_of(kafka_settings, later, second)):
        await eventually(lambda: len(second.runs) == 2, within=20)
    assert (equipment.deleted_unread(), later.deleted_unread()) == (0, 7)
