"""The in-memory Kafka, for machines without a real one: librdkafka's test cluster in its own process.

    python -m local_stack.kafka_memory --address-file FILE [--brokers N]

It has the real wire protocol on a loopback port, but it differs from Kafka. It loses all data when it stops, each
partition keeps its last 5 MB, and nothing is compacted. A long poll does not end when data arrives. Several members
that join a group race with each other. The protocol has no topic administration, so there is a control port. It reads
one command per line (`create NAME PARTITIONS`, `delete NAME`, `down BROKER`, `up BROKER`, `rtt BROKER MILLISECONDS`,
`errors API_KEY CODE...`) and answers `ok` or `error REASON`. When both ports can be used, the process writes the
address file, JSON with `bootstrap` and `control`. The process ends with its parent.
"""

import argparse
import asyncio
import ctypes
import importlib.util
import json
import os
import signal
from ctypes import POINTER, c_char_p, c_int, c_int16, c_int32, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from contracts.topics import ALL_TOPICS
from local_stack.ports import LOOPBACK
from runtime.waiting import wait_for_event

WATCH_SECONDS = 0.5
PRODUCER = 0  # rd_kafka_type_t
CLUSTER = c_void_p
# name: (result, arguments) of the functions of librdkafka's rdkafka_mock.h
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_conf_new": (c_void_p, []),
    "rd_kafka_new": (c_void_p, [c_int, c_void_p, c_char_p, c_size_t]),
    "rd_kafka_mock_cluster_new": (CLUSTER, [c_void_p, c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [CLUSTER]),
    "rd_kafka_mock_cluster_bootstraps": (c_char_p, [CLUSTER]),
    "rd_kafka_mock_topic_create": (c_int, [CLUSTER, c_char_p, c_int, c_int]),
    "rd_kafka_mock_topic_delete": (c_int, [CLUSTER, c_char_p]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [CLUSTER, c_int32]),
    "rd_kafka_mock_broker_set_down": (c_int, [CLUSTER, c_int32]),
    "rd_kafka_mock_broker_set_up": (c_int, [CLUSTER, c_int32]),
    "rd_kafka_mock_broker_set_rtt": (c_int, [CLUSTER, c_int32, c_int]),
    "rd_kafka_mock_push_request_errors_array": (None, [CLUSTER, c_int16, c_size_t, POINTER(c_int)]),
}


def load_librdkafka() -> ctypes.CDLL:
    """The shared library in the confluent-kafka wheel, with the signatures of the functions."""
    spec = importlib.util.find_spec("confluent_kafka")
    if spec is None or spec.origin is None:
        raise ImportError("the in-memory Kafka is part of the confluent-kafka wheel, which is not installed")
    package = Path(spec.origin).parent
    homes = (package.parent / "confluent_kafka.libs", package / ".dylibs", package.parent / "confluent_kafka.dylibs")
    for library in (file for home in homes for file in sorted(home.glob("librdkafka*"))):
        loaded = ctypes.CDLL(str(library))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
        return loaded
    raise ImportError(f"there is no librdkafka beside {package}")


class MockCluster:
    def __init__(self, brokers: int = 1) -> None:
        self._rdkafka = load_librdkafka()
        error = ctypes.create_string_buffer(512)
        handle = self._rdkafka.rd_kafka_new(PRODUCER, self._rdkafka.rd_kafka_conf_new(), error, len(error))
        if not handle:
            raise RuntimeError(f"librdkafka: {error.value.decode()}")
        self._cluster = self._rdkafka.rd_kafka_mock_cluster_new(handle, brokers)
        self._replicas = brokers
        # The default of 3 s would delay every start of every consumer.
        self._rdkafka.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    @property
    def bootstrap(self) -> str:
        return str(self._rdkafka.rd_kafka_mock_cluster_bootstraps(self._cluster).decode())

    def create_topic(self, name: str, partitions: int) -> int:
        return int(self._rdkafka.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, self._replicas))

    def execute(self, line: str) -> str:
        """Runs one command of the control port. Returns `ok` or `error REASON`."""
        match line.split():
            case ["create", name, partitions]:
                code = self.create_topic(name, int(partitions))
            case ["delete", name]:
                code = self._rdkafka.rd_kafka_mock_topic_delete(self._cluster, name.encode())
            case ["down", broker]:
                code = self._rdkafka.rd_kafka_mock_broker_set_down(self._cluster, int(broker))
            case ["up", broker]:
                code = self._rdkafka.rd_kafka_mock_broker_set_up(self._cluster, int(broker))
            case ["rtt", broker, milliseconds]:
                code = self._rdkafka.rd_kafka_mock_broker_set_rtt(self._cluster, int(broker), int(milliseconds))
            case ["errors", api_key, *codes]:
                numbers = (c_int * len(codes))(*map(int, codes))
                self._rdkafka.rd_kafka_mock_push_request_errors_array(self._cluster, int(api_key), len(codes), numbers)
                code = 0
            case _:
                return f"error unknown command: {line.strip()}"
        return "ok" if code == 0 else f"error librdkafka returned {code}"

    def close(self) -> None:
        self._rdkafka.rd_kafka_mock_cluster_destroy(self._cluster)


async def serve(cluster: MockCluster, address_file: Path) -> None:
    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            try:
                answer = cluster.execute(line.decode())
            except ValueError as error:
                answer = f"error {error}"
            writer.write(f"{answer}\n".encode())
            await writer.drain()
        writer.close()

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    control = await asyncio.start_server(session, LOOPBACK, 0)
    host, port = control.sockets[0].getsockname()
    partial = address_file.with_suffix(".part")
    partial.write_text(json.dumps({"bootstrap": cluster.bootstrap, "control": f"{host}:{port}"}))
    partial.rename(address_file)
    parent = os.getppid()
    while not stopped.is_set() and os.getppid() == parent:  # without its parent, no one needs it
        await wait_for_event(stopped, WATCH_SECONDS)
    control.close()


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m local_stack.kafka_memory", description=__doc__)
    arguments.add_argument("--address-file", type=Path, required=True)
    arguments.add_argument("--brokers", type=int, default=1)
    chosen = arguments.parse_args()
    cluster = MockCluster(chosen.brokers)
    for topic in ALL_TOPICS:
        cluster.create_topic(topic.name, topic.partitions)
    asyncio.run(serve(cluster, chosen.address_file))
    cluster.close()


if __name__ == "__main__":
    main()
