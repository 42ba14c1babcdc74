"""Creates and checks the topics of `contracts` on a cluster.

python -m runtime.kafka.topics provision    create what is missing, adjust what differs from the declaration
python -m runtime.kafka.topics describe     show the declared topics and check the cluster
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import typer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from contracts.topics import ALL_TOPICS, DEAD_LETTERS, Cleanup, Topic
from runtime.kafka.client_lifecycle import close_in_time
from runtime.kafka.clients import MAX_MESSAGE_BYTES, build_admin, start_admin, topic_name
from runtime.kafka.diagnosis import NoConnection
from runtime.settings import KafkaSettings, load_settings

_ADMIN_SECONDS = 30.0
_DEFAULT_REPLICAS = 3
_POLL_SECONDS = 0.05
_SET_FOR_TOPIC = 1
"""Kafka's `ConfigSource.DYNAMIC_TOPIC_CONFIG`."""


class TopicsNotReady(Exception):  # noqa: N818 -- the name states the problem
    """Topics are missing, or do not have the declared number of partitions. The message names the command to run."""


class TopicMismatch(Exception):  # noqa: N818 -- the name states the problem
    """A topic has another number of partitions than declared. Nothing is changed: that would break the sharding."""


class NoTopicAdministration(Exception):  # noqa: N818 -- the name states the problem
    """This broker has no administration API. An example is librdkafka's in-memory cluster."""


@dataclass(frozen=True)
class ExistingTopic:
    """The actual state of a topic on the cluster."""

    partitions: int
    replicas: int
    settings: Mapping[str, str]


@dataclass(frozen=True)
class ClusterReading:
    """The number of brokers, and the declared topics that exist, by name."""

    brokers: int
    topics: Mapping[str, ExistingTopic]


@dataclass(frozen=True)
class _Cluster:
    brokers: int
    partitions: Mapping[str, int]
    """The number of partitions by topic name."""


async def provision(
    settings: KafkaSettings, topics: Sequence[Topic] = ALL_TOPICS, replication_factor: int | None = None
) -> list[str]:
    """Create missing topics and adjust the configuration of the others. Returns what was done, a line per topic.

    If a topic exists, only its settings in `topic_configs` are changed. All other settings, such as `retention.bytes`,
    keep the values that an operator gave them. But a change that another client makes at the same moment may be lost,
    because the request replaces all settings of the topic. Safe to run again, and in several processes at once. By
    default there are 3 replicas, but at most one per broker. Raises `TopicMismatch` before it changes anything.
    """
    async with _administering(settings) as admin:
        cluster = await _describe(admin)
        if problems := _mismatches(settings, topics, cluster.partitions):
            raise TopicMismatch("; ".join(problems))
        replicas = replication_factor or max(1, min(_DEFAULT_REPLICAS, cluster.brokers))
        done = []
        for topic in topics:
            name = topic_name(settings, topic)
            if name in cluster.partitions:
                done += await _adjust(admin, name, topic_configs(topic, replicas))
            else:
                done += await _create(admin, name, topic, replicas)
        # The controller answers before all brokers know a new topic, but the next command must find all topics.
        while _missing(settings, topics, (await _describe(admin)).partitions):  # noqa: ASYNC110 -- there is no event to wait for
            await asyncio.sleep(_POLL_SECONDS)
        return done


async def verify(settings: KafkaSettings, topics: Sequence[Topic]) -> None:
    """Return when all topics exist with their declared partitions, else raise `TopicsNotReady`. Needs metadata only."""
    async with _administering(settings) as admin:
        existing = (await _describe(admin)).partitions
    missing = _missing(settings, topics, existing)
    problems = [f"missing: {', '.join(missing)}"] if missing else []
    problems += _mismatches(settings, topics, existing)
    if problems:
        raise TopicsNotReady(f"{'; '.join(problems)}. Run: python -m runtime.kafka.topics provision")


async def read_cluster(settings: KafkaSettings, topics: Sequence[Topic]) -> ClusterReading:
    """Those of these topics that exist, with all their settings."""
    async with _administering(settings) as admin:
        names = {topic_name(settings, topic) for topic in topics}
        described = [each for each in await admin.describe_topics() if each["topic"] in names]
        found = {
            each["topic"]: ExistingTopic(
                partitions=len(each["partitions"]),
                replicas=min((len(one["replicas"]) for one in each["partitions"]), default=0),
                settings=(await _configs(admin, each["topic"]))[0],
            )
            for each in described
            if not each["error_code"]
        }
        return ClusterReading(len((await admin.describe_cluster())["brokers"]), found)


def topic_configs(topic: Topic, replicas: int) -> dict[str, str]:
    """Kafka's configuration of a declared topic."""
    configs = {
        "cleanup.policy": topic.cleanup.value,
        "min.insync.replicas": str(max(1, replicas - 1)),
        "retention.ms": "-1" if topic.retention is None else str(topic.retention // timedelta(milliseconds=1)),
    }
    if topic.cleanup is Cleanup.COMPACT:
        # A restore reads all messages that are not compacted yet, so compact early and often.
        configs |= {"min.cleanable.dirty.ratio": "0.2", "segment.ms": str(6 * 3_600_000)}
    if topic is DEAD_LETTERS:
        configs["max.message.bytes"] = str(MAX_MESSAGE_BYTES)
    return configs


def _missing(settings: KafkaSettings, topics: Sequence[Topic], existing: Mapping[str, int]) -> list[str]:
    return [name for topic in topics if (name := topic_name(settings, topic)) not in existing]


def _mismatches(settings: KafkaSettings, topics: Sequence[Topic], existing: Mapping[str, int]) -> list[str]:
    return [
        f"{name} has {existing[name]} partitions where {topic.partitions} are declared"
        for topic in topics
        if (name := topic_name(settings, topic)) in existing and existing[name] != topic.partitions
    ]


@asynccontextmanager
async def _administering(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    client = build_admin(settings)
    try:
        async with asyncio.timeout(_ADMIN_SECONDS):
            await start_admin(settings, client)
            yield client
    finally:
        await close_in_time(client.close(), "A client could not disconnect", action="admin_stop_failed")


async def _describe(admin: AIOKafkaAdminClient) -> _Cluster:
    described = await admin.describe_topics()
    cluster = await admin.describe_cluster()
    partitions = {each["topic"]: len(each["partitions"]) for each in described if not each["error_code"]}
    return _Cluster(brokers=len(cluster["brokers"]), partitions=partitions)


async def _create(admin: AIOKafkaAdminClient, name: str, topic: Topic, replicas: int) -> list[str]:
    new = NewTopic(name, topic.partitions, replicas, topic_configs=topic_configs(topic, replicas))
    try:
        response = await admin.create_topics([new])
    except (AttributeError, TypeError) as error:  # aiokafka raises these if no broker is the controller
        raise NoTopicAdministration(
            "This broker has no topic administration (an in-memory test cluster?): its own tool must create the topics."
        ) from error
    for answer in response.topic_errors:
        error_type = for_code(answer[1])
        if error_type is TopicAlreadyExistsError:
            return []
        if answer[1]:
            raise error_type(f"{name}: {answer[2] if len(answer) > 2 else ''}")  # noqa: PLR2004 -- (name, code, message)
    return [f"created {name} ({topic.partitions} partitions, {replicas} replicas, {topic.cleanup.value})"]


async def _adjust(admin: AIOKafkaAdminClient, name: str, wanted: dict[str, str]) -> list[str]:
    """Alter a topic's configuration where it differs.

    The request replaces all settings of the topic, so it repeats those of the operator. aiokafka has no
    IncrementalAlterConfigs.
    """
    current, own = await _configs(admin, name)
    different = {key: value for key, value in wanted.items() if current.get(key) != value}
    if not different:
        return []
    responses = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=own | wanted)])
    for response in responses:
        for code, message, *_ in response.resources:
            if code:
                raise for_code(code)(f"{name}: {message}")
    return [f"adjusted {name} ({', '.join(f'{key}={value}' for key, value in different.items())})"]


async def _configs(admin: AIOKafkaAdminClient, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """All settings that apply to a topic, and those that were set for this topic."""
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    found: dict[str, str] = {}
    own: dict[str, str] = {}
    for response in responses:
        for _code, _message, _kind, _name, entries in response.resources:
            for key, value, _read_only, source, *_ in entries:
                found[key] = value
                if source == _SET_FOR_TOPIC:
                    own[key] = value
    return found, own


app = typer.Typer(help="Kafka's topics, as declared in contracts.topics.", no_args_is_help=True)


@app.command("provision")
def provision_command(replication_factor: int | None = None) -> None:
    """Create missing topics and adjust the settings that Candlekeep declares. Other settings keep their values."""
    settings = load_settings(KafkaSettings)
    done = _run(provision(settings, replication_factor=replication_factor))
    typer.echo("\n".join(done) or f"All {len(ALL_TOPICS)} topics are as declared.")


@app.command("describe")
def describe_command() -> None:
    """Show the declared topics and whether the cluster has them."""
    settings = load_settings(KafkaSettings)
    for topic in ALL_TOPICS:
        retention = "forever" if topic.retention is None else f"{topic.retention.days} d"
        typer.echo(
            f"{topic_name(settings, topic):<24} {topic.partitions:>3} partitions  {topic.cleanup.value:<8}"
            f"{retention:<9} key: {topic.key}"
        )
    _run(verify(settings, ALL_TOPICS))
    typer.echo(f"The cluster at {settings.kafka_bootstrap_servers} has all of them.")


def _run(work: Any) -> Any:
    try:
        return asyncio.run(work)
    except NoConnection as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except (TopicMismatch, TopicsNotReady, NoTopicAdministration, KafkaError, OSError, TimeoutError) as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
