"""`python -m runtime.dead_letters list | show | replay`. Kafka's settings come from the environment."""

import asyncio
import logging
import shutil
from collections import Counter, deque
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from aiokafka.errors import KafkaConnectionError, KafkaError

from contracts.topics import ALL_TOPICS
from runtime.dead_letters.reading import DeadLetterNotFound, DeadLetterReader, open_reader, open_replayer
from runtime.dead_letters.replays import CannotReplay, one_per_message, replay_of, sources
from runtime.dead_letters.stored import (
    DeadLetterFilter,
    DeadLetterId,
    StoredDeadLetter,
    as_json,
    description,
    parse_time,
    table,
)
from runtime.kafka.diagnosis import NoConnection
from runtime.kafka.topics import NoTopicAdministration, TopicsNotReady, verify
from runtime.settings import KafkaSettings, load_settings

T = TypeVar("T")

_WIDTH_WITHOUT_TERMINAL = 160
_PROBLEMS = (DeadLetterNotFound, CannotReplay, TopicsNotReady, NoTopicAdministration, KafkaError, OSError, TimeoutError)

TopicOption = Annotated[str | None, typer.Option("--topic", help="Only dead letters from this topic.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="Stored at or after this time: 2026-05-04T12:00 (UTC), or an age: 1h.")
]
UntilOption = Annotated[str | None, typer.Option("--until", help="Stored before this time or age.")]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Inspect messages that a consumer could not read or handle, and publish them again.",
)


@app.callback()
def silence_client() -> None:
    """Turn off the log of the Kafka client. The command prints one line per problem, and the client would add three
    lines.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)


@app.command("list")
def list_command(
    topic: TopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest to show.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line, with all fields.")] = False,
) -> None:
    """Show the newest dead letters, one per line."""
    settings = load_settings(KafkaSettings)
    wanted = _filter(settings, topic, since, until)
    count, newest = _run(settings, _newest(settings, wanted, limit, with_body=json))
    if json:
        typer.echo("".join(f"{as_json(each)}\n" for each in newest), nl=False)
        return
    if newest:
        _echo_table(newest)
    more = f"; these are the newest {len(newest)}, --limit shows more" if count > len(newest) else ""
    typer.echo(f"{_amount(count)}{more}.")


@app.command("show")
def show_command(
    dead_letter: Annotated[str, typer.Argument(metavar="ID", help="The id that `list` shows, such as 1-42.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with key and value in base64.")] = False,
) -> None:
    """Show all fields of one dead letter."""
    settings = load_settings(KafkaSettings)
    (stored,) = _run(settings, _by_ids(settings, _parse_ids([dead_letter])))
    typer.echo(as_json(stored) if json else description(stored))


@app.command("replay")
def replay_command(
    dead_letters: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids that `list` shows.")] = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the messages that would be published.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Publish the original messages again, to their source topics.

    The command can be repeated safely: all consumers accept the same message twice. A message that still cannot be
    handled becomes a new dead letter.
    """
    settings = load_settings(KafkaSettings)
    filtered = any(value is not None for value in (topic, since, until))
    if bool(dead_letters) == filtered:
        _refuse("Give either ids of dead letters, or a filter with --topic, --since, --until (all: --since 30d).")
    if dead_letters:
        found = _run(settings, _by_ids(settings, _parse_ids(dead_letters)))
    else:
        found = _run(settings, _matching(settings, _filter(settings, topic, since, until)))
    ids = one_per_message(found)
    repeats = f" ({_amount(len(found))}; some of them are for the same message)" if len(ids) < len(found) else ""
    chosen = set(ids)
    planned = [each for each in found if each.id in chosen]
    by_topic = Counter(each.letter.source_topic for each in planned)
    plan = ", ".join(f"{count} to {name}" for name, count in sorted(by_topic.items()))
    if dry_run and planned:
        _echo_table(planned)
    typer.echo(f"To publish: {plan or 'nothing'}{repeats}.")
    if dry_run or not ids:
        return
    if not yes:
        typer.confirm(f"Publish {'this message' if len(ids) == 1 else f'these {len(ids)} messages'}?", abort=True)
    _run(settings, _replay(settings, ids))


async def _newest(
    settings: KafkaSettings, wanted: DeadLetterFilter, limit: int, *, with_body: bool
) -> tuple[int, list[StoredDeadLetter]]:
    """The number of matching dead letters, and the newest of them by time."""
    async with open_reader(settings) as reader:
        count, newest = 0, dict[int, deque[StoredDeadLetter]]()
        async for each in reader.read_all(wanted.since):
            if wanted.matches(each.letter):
                count += 1
                newest.setdefault(each.id.partition, deque(maxlen=limit)).append(
                    each if with_body else _without_body(each)
                )
        _warn_of_unreadable(reader)
    return count, sorted((each for partition in newest.values() for each in partition), key=_age)[-limit:]


async def _matching(settings: KafkaSettings, wanted: DeadLetterFilter) -> list[StoredDeadLetter]:
    """All matching dead letters. Keys and values are dropped, because they may need much memory."""
    async with open_reader(settings) as reader:
        found = [_without_body(each) async for each in reader.read_all(wanted.since) if wanted.matches(each.letter)]
        _warn_of_unreadable(reader)
        return found


async def _by_ids(settings: KafkaSettings, ids: list[DeadLetterId]) -> list[StoredDeadLetter]:
    async with open_reader(settings) as reader:
        return [await reader.read_one(each) for each in ids]


async def _replay(settings: KafkaSettings, ids: list[DeadLetterId]) -> None:
    """Publishes the messages, and prints the result even if a message fails."""
    await verify(settings, ALL_TOPICS)
    allowed, sent, skipped = sources(settings.kafka_topic_prefix), 0, 0
    try:
        async with open_reader(settings) as reader, open_replayer(settings) as replayer:
            for each in ids:
                try:
                    replay = replay_of(await reader.read_one(each), allowed)
                except CannotReplay as reason:
                    typer.echo(f"Skipped {reason}", err=True)
                    skipped += 1
                    continue
                await replayer.publish(replay)
                sent += 1
    finally:
        rest = f", {skipped} skipped" if skipped else ""
        typer.echo(f"Published {sent} of {len(ids)}{rest}. Doing it again is safe: consumers are idempotent.")
    if skipped:
        raise typer.Exit(1)


def _echo_table(dead_letters: list[StoredDeadLetter]) -> None:
    typer.echo("\n".join(table(dead_letters, shutil.get_terminal_size((_WIDTH_WITHOUT_TERMINAL, 24)).columns)))


def _without_body(stored: StoredDeadLetter) -> StoredDeadLetter:
    return StoredDeadLetter(stored.id, stored.letter.model_copy(update={"source_value": None, "source_key": None}))


def _age(stored: StoredDeadLetter) -> tuple[datetime, DeadLetterId]:
    return stored.letter.occurred_at, stored.id


def _amount(count: int) -> str:
    return "1 dead letter" if count == 1 else f"{count or 'No'} dead letters"


def _warn_of_unreadable(reader: DeadLetterReader) -> None:
    if reader.unreadable:
        typer.echo(f"Skipped records of the topic that are not dead letters: {reader.unreadable}.", err=True)


def _filter(settings: KafkaSettings, topic: str | None, since: str | None, until: str | None) -> DeadLetterFilter:
    names = {name for known in ALL_TOPICS for name in (known.name, settings.kafka_topic_prefix + known.name)}
    if topic is not None and topic not in names:
        _refuse(f"{topic!r} is not a topic of this system: {', '.join(each.name for each in ALL_TOPICS)}")
    now = datetime.now(UTC)
    try:
        first, last = (None if text is None else parse_time(text, now) for text in (since, until))
    except ValueError as error:
        _refuse(str(error))
    return DeadLetterFilter(topic=topic, prefix=settings.kafka_topic_prefix, since=first, until=last)


def _parse_ids(texts: list[str]) -> list[DeadLetterId]:
    try:
        return [DeadLetterId.parse(text) for text in texts]
    except ValueError as error:
        _refuse(str(error))


def _refuse(reason: str) -> NoReturn:
    typer.echo(reason, err=True)
    raise typer.Exit(2)


def _run(settings: KafkaSettings, work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except NoConnection as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except KafkaConnectionError as error:
        typer.echo(f"Kafka does not respond at {settings.kafka_bootstrap_servers} (KAFKA_BOOTSTRAP_SERVERS).", err=True)
        raise typer.Exit(1) from error
    except _PROBLEMS as error:
        reason = "Kafka did not respond in time." if isinstance(error, TimeoutError) else str(error)
        typer.echo(reason, err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
