"""Converts readings to results of checks. Pure: no I/O, and the clock is an argument."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from admin_api.doctor.results import Check, failed, ok, warning
from admin_api.services.groups import Group

CLOCK_WARNING: Final = timedelta(seconds=2)
CLOCK_FAILURE: Final = timedelta(seconds=5)
"""The smallest clock difference that is a failure. The scheduler tolerates times that are ahead by up to this
difference.
"""
LAG_WARNING: Final = 1_000
RETAINED_SHARE: Final = 0.8
OUTBOX_WARNING: Final = timedelta(minutes=1)
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1", ""})


@dataclass(frozen=True)
class TopicReading:
    """The state of a topic in the cluster."""

    partitions: int
    replicas: int
    settings: Mapping[str, str]


@dataclass(frozen=True)
class PartitionReading:
    """The offsets of one partition that a group has committed."""

    topic: str
    committed: int
    beginning: int
    end: int


def topic_check(
    name: str, found: TopicReading | None, *, partitions: int, brokers: int, settings: Mapping[str, str]
) -> Check:
    """`partitions` and `settings` are the declared values."""
    check, provision = f"topic {name}", "Run `python -m runtime.kafka.topics provision`."
    if found is None:
        return failed(check, "is missing", provision)
    if found.partitions != partitions:
        return failed(
            check,
            f"has {found.partitions} partitions, {partitions} are declared",
            "Kafka cannot take partitions away, and more of them move keys to other consumers. Stop the services, "
            "delete the topic, and follow docs/operations.md#rebuilding-kafka.",
        )
    different = [
        f"{key} is {found.settings.get(key, 'not set')}, declared is {value}"
        for key, value in settings.items()
        if found.settings.get(key) != value
    ]
    if different:
        return warning(check, "; ".join(different), provision)
    if found.replicas < min(3, brokers):
        return warning(
            check,
            f"has {found.replicas} replica, and the cluster has {brokers} brokers",
            "The loss of one broker loses the topic. Reassign its partitions with kafka-reassign-partitions.sh.",
        )
    return ok(check, f"{partitions} partitions, {found.replicas} replicas, settings as declared")


def group_check(name: str, group: Group, offsets: Sequence[PartitionReading]) -> Check:
    """Checks the consumer group of a service: its members, its lag, and whether retention may soon delete unread
    messages.
    """
    check = f"consumer group {name}"
    if lost := [each for each in offsets if each.committed < each.beginning]:
        return failed(
            check,
            f"retention deleted messages of {_topics(lost)} that it has not read",
            "Follow docs/runbook.md#retention-has-overtaken-a-consumer.",
        )
    if group.members == 0:
        return failed(
            check,
            f"no instance is connected, {group.lag} messages wait",
            f"Start {name}, or read the last lines of its log if it has ended.",
        )
    # Before retention deletes for the first time, an unread topic is not in danger.
    if close := [each for each in offsets if each.beginning > 0 and _unread_share(each) > RETAINED_SHARE]:
        return failed(
            check,
            f"more than {RETAINED_SHARE:.0%} of {_topics(close)} is unread: retention deletes it soon",
            f"Start more instances of {name}, or raise the retention of the topic until it has caught up.",
        )
    if group.lag > LAG_WARNING:
        return warning(
            check,
            f"{group.lag} messages wait",
            f"Run the doctor again after a minute. If the number grows, start more instances of {name}.",
        )
    members = "unknown" if group.members is None else group.members
    return ok(check, f"{members} instances, {group.lag} messages wait")


def clock_check(name: str, theirs: datetime, before: datetime, after: datetime) -> Check:
    """`theirs` is the time of the other clock.

    This machine's clock showed `before` before the reading and `after` after it.
    """
    ahead = theirs - after if theirs > after else theirs - before if theirs < before else timedelta()
    check, text = f"clock of {name}", f"{ahead.total_seconds():+.1f} s compared with this machine"
    advice = "Run an NTP client, such as chrony, on both machines."
    if abs(ahead) > CLOCK_FAILURE:
        return failed(check, text, advice)
    if abs(ahead) > CLOCK_WARNING:
        return warning(check, text, advice)
    return ok(check, text)


def roles_check(roles: Mapping[str, bool], wanted: Iterable[str]) -> Check:
    """`roles` are the existing roles. The value is true if the role has the rights of an administrator."""
    advice = "Run `python -m store roles`, see docs/security.md#database-roles."
    if mighty := sorted(name for name in wanted if roles.get(name)):
        return failed("database roles", f"roles of services are administrators: {', '.join(mighty)}", advice)
    if missing := sorted(set(wanted) - roles.keys()):
        return warning("database roles", f"these do not exist: {', '.join(missing)}", advice)
    return ok("database roles", "each service has its own role, without powers of an administrator")


def encryption_check(name: str, host: str, *, encrypted: bool) -> Check:
    if encrypted:
        return ok(f"TLS to {name}", f"the connection to {host} is encrypted")
    if host in _LOCAL:
        return ok(f"TLS to {name}", "not used, on this machine")
    return warning(
        f"TLS to {name}",
        f"the connection to {host} is not encrypted",
        "This is right only in a network of your own, such as that of compose. Else see docs/security.md.",
    )


def outbox_check(rows: int, oldest: datetime | None, now: datetime) -> Check:
    if oldest is None or now - oldest <= OUTBOX_WARNING:
        return ok("outbox", f"{rows} changes wait for Kafka")
    return failed(
        "outbox",
        f"{rows} changes wait for Kafka, the oldest since {oldest:%Y-%m-%d %H:%M:%S} UTC",
        "Look for the action `relay_waiting` in the log of admin-api: it has the reason.",
    )


def _unread_share(reading: PartitionReading) -> float:
    return (reading.end - reading.committed) / max(1, reading.end - reading.beginning)


def _topics(readings: Iterable[PartitionReading]) -> str:
    return ", ".join(sorted({reading.topic for reading in readings}))
