import asyncio
import shutil
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError

from contracts.topics import ALL_TOPICS
from local_stack.errors import StackError
from local_stack.kafka_provider import (
    ExistingKafka,
    KafkaPlace,
    MemoryKafka,
    command_memory_kafka,
    start_kafka,
)
from local_stack.kafka_real import RealKafka
from local_stack.ports import LOOPBACK
from local_stack.processes import command_line
from support.faults.kafka_detour import kafka_detour
from support.polling import eventually


async def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    try:
        await producer.start()
        for value in values:
            await producer.send_and_wait(topic, value, key=b"key")
    finally:
        await producer.stop()


async def consume(bootstrap: str, topic: str, count: int, group: str | None = None) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=20,
        session_timeout_ms=3_000,
        heartbeat_interval_ms=500,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            values = [(await consumer.getone()).value for _ in range(count)]
        if group:
            await consumer.commit()
        return values
    finally:
        await consumer.stop()


def a_place(folder: Path) -> KafkaPlace:
    return KafkaPlace(data=folder / "data", logs=folder / "logs", run=folder / "run")


@pytest.mark.kafka
@pytest.mark.real_kafka
async def test_the_real_kafka_keeps_its_data_after_a_restart_on_other_ports(tmp_path: Path) -> None:
    place = a_place(tmp_path)
    first = await RealKafka.start(data=place.data, logs=place.logs, run=place.run)
    try:
        assert first.fresh
        admin = AIOKafkaAdminClient(bootstrap_servers=first.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic("kept", 3, 1)])
        await admin.close()
        await produce(first.bootstrap, "kept", [b"one", b"two"])
    finally:
        await first.stop()
    second = await RealKafka.start(data=place.data, logs=place.logs, run=place.run)
    try:
        assert not second.fresh
        assert await consume(second.bootstrap, "kept", 2, group="readers") == [b"one", b"two"]
    finally:
        await second.stop()


@pytest.mark.kafka
@pytest.mark.real_kafka
async def test_a_damaged_data_folder_gives_a_clear_message(tmp_path: Path) -> None:
    place = a_place(tmp_path)
    kafka = await RealKafka.start(data=place.data, logs=place.logs, run=place.run)
    await kafka.stop()
    meta = place.data / "logs" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=2"))
    with pytest.raises(StackError, match=r"stopped while starting on .*Stored node id 2.*remove that folder"):
        await RealKafka.start(data=place.data, logs=place.logs, run=place.run)
    assert not list(place.run.iterdir())


@pytest.mark.kafka
@pytest.mark.real_kafka
async def test_only_clients_of_the_detour_connect_through_the_proxy(tmp_path: Path) -> None:
    place = a_place(tmp_path)
    async with kafka_detour() as (proxy, ports):
        kafka = await RealKafka.start(data=place.data, logs=place.logs, run=place.run, ports=ports)
        try:
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
            await admin.start()
            await admin.create_topics([NewTopic("far", 1, 1)])
            await admin.close()
            await produce(kafka.bootstrap, "far", [b"direct"])
            assert proxy.connections == 0
            await produce(f"{LOOPBACK}:{proxy.listens_on}", "far", [b"around"])
            assert proxy.connections > 1  # the first connection reads the address, the others use it
            proxy.set_mode("reset")
            with pytest.raises(KafkaConnectionError):
                await produce(f"{LOOPBACK}:{proxy.listens_on}", "far", [b"cut"])
            assert await consume(kafka.bootstrap, "far", 2) == [b"direct", b"around"]
        finally:
            await kafka.stop()


async def test_the_memory_kafka_has_the_declared_topics_and_serves_a_group(tmp_path: Path) -> None:
    place = a_place(tmp_path)
    kafka = await MemoryKafka.start(logs=place.logs, run=place.run, reason="a test")
    try:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await producer.start()
        counts = {topic.name: len(await producer.partitions_for(topic.name)) for topic in ALL_TOPICS}
        await producer.stop()
        assert counts == {topic.name: topic.partitions for topic in ALL_TOPICS}
        await command_memory_kafka(kafka.control, ["create mine 6"])
        await produce(kafka.bootstrap, "mine", [b"one", b"two", b"three"])
        assert await consume(kafka.bootstrap, "mine", 2, group="readers") == [b"one", b"two"]
        assert await consume(kafka.bootstrap, "mine", 1, group="readers") == [b"three"]
    finally:
        await kafka.stop()


async def test_the_memory_kafka_refuses_invalid_commands(tmp_path: Path) -> None:
    place = a_place(tmp_path)
    kafka = await MemoryKafka.start(logs=place.logs, run=place.run, reason="a test")
    try:
        for wrong in ("unknown", "create mine many", "create ticks 3"):
            with pytest.raises(StackError, match=f"refused '{wrong}': error "):
                await command_memory_kafka(kafka.control, [wrong])
    finally:
        await kafka.stop()


async def test_the_fallback_without_maven_and_cache_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("java"):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "java").symlink_to(shutil.which("java"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("local_stack.kafka_real.cache_folder", lambda: tmp_path / "cache")
    reports: list[str] = []
    kafka = await start_kafka(a_place(tmp_path), reports.append, {})
    await kafka.stop()
    assert not kafka.is_real
    assert len(reports) == 1
    assert "no Apache Kafka here (there is no " in reports[0]
    assert "loses all data when it stops" in reports[0]


async def test_an_existing_kafka_is_used(tmp_path: Path) -> None:
    kafka = await start_kafka(a_place(tmp_path), print, {"KAFKA_BOOTSTRAP_SERVERS": "elsewhere:9092"})
    assert kafka == ExistingKafka("elsewhere:9092")
    assert list(tmp_path.iterdir()) == []


async def test_the_error_for_an_unknown_kafka_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="CANDLEKEEP_KAFKA is 'redpanda'; it may be auto, real, memory"):
        await start_kafka(a_place(tmp_path), print, {"CANDLEKEEP_KAFKA": "redpanda"})


async def test_an_orphaned_memory_kafka_ends_by_itself(tmp_path: Path) -> None:
    address_file = tmp_path / "address.json"
    command = f"{sys.executable} -m local_stack.kafka_memory --address-file {address_file} & echo $!; exec sleep 60"
    shell = await asyncio.create_subprocess_exec("/bin/sh", "-c", command, stdout=asyncio.subprocess.PIPE)
    assert shell.stdout is not None
    pid = int(await shell.stdout.readline())
    await eventually(address_file.exists, within=30)
    assert command_line(pid) is not None
    shell.kill()
    await eventually(lambda: command_line(pid) is None, within=10)
    await shell.communicate()  # no process holds the pipe any more
