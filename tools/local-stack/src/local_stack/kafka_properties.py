"""What a broker is told: alone, or as one of several."""

from dataclasses import dataclass
from pathlib import Path

from local_stack.ports import LOOPBACK

# One node holds everything, so every replication factor is 1 and joining a group waits for nobody. With the small
# cleaner buffer and thread counts a 512 MB heap is plenty; sessions may be short because tests want quick failover.
_ALONE = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller_port}
listeners={listeners}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,DETOUR:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=4
message.max.bytes=2097152
log.cleaner.dedupe.buffer.size=16777216
log.index.size.max.bytes=1048576
log.segment.delete.delay.ms=1000
log.retention.check.interval.ms=60000
"""

# What is different for one of several. In a file of properties the last one of a name counts.
_OF_SEVERAL = """\
process.roles={roles}
node.id={number}
controller.quorum.bootstrap.servers={host}:{controller_port}
default.replication.factor={brokers}
min.insync.replicas={enough}
offsets.topic.num.partitions={brokers}
offsets.topic.replication.factor={brokers}
"""


@dataclass(frozen=True)
class Detour:
    """A second way in, for a proxy: it forwards to `port`, and who came by it is told to come by `advertised`, where
    the proxy listens. Clients connect to what a broker tells them, so a proxy without this sees their first request.
    """

    port: int
    advertised: int


@dataclass(frozen=True)
class KafkaPorts:
    broker: int
    controller: int
    detour: Detour | None = None


@dataclass(frozen=True)
class Member:
    """One of several brokers, numbered from 1. The first is the controller too, and the others' way to it."""

    number: int
    brokers: int
    controller_port: int
    cluster_id: str


def properties(ports: KafkaPorts, logs: Path, member: Member | None) -> str:
    """The whole server.properties; alone without `member`."""
    listeners, advertised = {"PLAINTEXT": ports.broker}, {"PLAINTEXT": ports.broker}
    if ports.detour is not None:
        listeners["DETOUR"], advertised["DETOUR"] = ports.detour.port, ports.detour.advertised
    controls = member is None or member.number == 1
    alone = _ALONE.format(
        host=LOOPBACK,
        controller_port=ports.controller,
        listeners=_addresses(listeners | ({"CONTROLLER": ports.controller} if controls else {})),
        advertised=_addresses(advertised),
        logs=logs,
    )
    if member is None:
        return alone
    return alone + _OF_SEVERAL.format(
        roles="broker,controller" if controls else "broker",
        number=member.number,
        host=LOOPBACK,
        controller_port=member.controller_port,
        brokers=member.brokers,
        enough=max(1, member.brokers - 1),
    )


def _addresses(ports: dict[str, int]) -> str:
    return ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())
