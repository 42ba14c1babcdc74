"""The configuration of a broker, alone or as one of several."""

from dataclasses import dataclass
from pathlib import Path

from local_stack.ports import LOOPBACK

# There is one node, so every replication factor is 1 and a group does not wait for more members. The small cleaner
# buffer and thread counts allow a heap of 512 MB. Sessions may be short, because tests need a fast failover.
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

# The differences for one of several brokers. In a properties file, the last value of a name counts.
_OF_SEVERAL = """\
process.roles={roles}
node.id={number}
controller.quorum.bootstrap.servers={host}:{controller_port}
default.replication.factor={brokers}
min.insync.replicas={min_in_sync}
offsets.topic.num.partitions={brokers}
offsets.topic.replication.factor={brokers}
"""


@dataclass(frozen=True)
class Detour:
    """A second listener, for clients behind a proxy. The proxy forwards to `port` and listens on `advertised`.

    Clients connect to the address that a broker advertises. Without this listener, only their first request would go
    through the proxy.
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
    """One of several brokers, numbered from 1. The first one is also the controller."""

    number: int
    brokers: int
    controller_port: int
    cluster_id: str


def properties(ports: KafkaPorts, logs: Path, member: Member | None) -> str:
    """The content of server.properties. Without `member`, for a single broker."""
    listeners, advertised = {"PLAINTEXT": ports.broker}, {"PLAINTEXT": ports.broker}
    if ports.detour is not None:
        listeners["DETOUR"], advertised["DETOUR"] = ports.detour.port, ports.detour.advertised
    is_controller = member is None or member.number == 1
    single = _ALONE.format(
        host=LOOPBACK,
        controller_port=ports.controller,
        listeners=_addresses(listeners | ({"CONTROLLER": ports.controller} if is_controller else {})),
        advertised=_addresses(advertised),
        logs=logs,
    )
    if member is None:
        return single
    return single + _OF_SEVERAL.format(
        roles="broker,controller" if is_controller else "broker",
        number=member.number,
        host=LOOPBACK,
        controller_port=member.controller_port,
        brokers=member.brokers,
        min_in_sync=max(1, member.brokers - 1),
    )


def _addresses(ports: dict[str, int]) -> str:
    return ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())
