"""`python -m runtime.dead_letters list | show | replay`, with Kafka's settings from the environment."""

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
from runtime.dead_letters.reading import DeadLetterReader, NoSuchLetter, open_reader, open_replayer
from runtime.dead_letters.replays import CannotReplay, once_each, replay_of, sources
from runtime.dead_letters.stored import (
    DeadLetterFilter,
    DeadLetterId,
    StoredDeadLetter,
    as_json,
    description,
    parse_time,
    table,
)
from runtime.kafka.topics import NoTopicAdministration, TopicsNotReady, verify
from runtime.settings import KafkaSettings, load_settings

T = TypeVar("T")

_WIDTH_OF_A_PIPE = 160
_PROBLEMS = (NoSuchLetter, CannotReplay, TopicsNotReady, NoTopicAdministration, KafkaError, OSError, TimeoutError)

TopicOption = Annotated[str | None, typer.Option("--topic", help="Only messages of this topic.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="Put aside since: 2026-05-04T12:00 (UTC), or 1h.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Put aside before: a time or an age.")]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Messages that nobody could read or handle: look at them, and publish them again.",
)


@app.callback()
def quietly() -> None:
    """Our line about a problem is enough; the client would write three."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)


@app.command("list")
def list_command(
    topic: TopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="A JSON object per line, with everything.")] = False,
) -> None:
    """The newest dead letters, a line each."""
    settings = load_settings(KafkaSettings)
    wanted = _wanted(settings, topic, since, until)
    count, newest = _run(settings, _newest(settings, wanted, limit, whole=json))
    if json:
        typer.echo("".join(f"{as_json(each)}\n" for each in newest), nl=False)
        return
    if newest:
        _echo_table(newest)
    more = f", of which these are the newest {len(newest)}; --limit shows more" if count > len(newest) else ""
    typer.echo(f"{_amount(count)}{more}.")


@app.command("show")
def show_command(
    letter: Annotated[str, typer.Argument(metavar="ID", help="As `list` names it, such as 1-42.")],
    json: Annotated[bool, typer.Option("--json", help="As JSON, key and value in base64.")] = False,
) -> None:
    """Everything about one dead letter."""
    settings = load_settings(KafkaSettings)
    (shelved,) = _run(settings, _named(settings, _places([letter])))
    typer.echo(as_json(shelved) if json else description(shelved))


@app.command("replay")
def replay_command(
    letters: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `list` names them.")] = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be published.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Publish the original messages again, to where they came from.

    Safe to repeat: whoever consumes them tolerates to get the same message twice. A message that still cannot be
    handled becomes a new dead letter.
    """
    settings = load_settings(KafkaSettings)
    chosen = any(value is not None for value in (topic, since, until))
    if bool(letters) == chosen:
        _refuse("Name the dead letters by their ids, or choose them with --topic, --since, --until (all: --since 30d).")
    if letters:
        found = _run(settings, _named(settings, _places(letters)))
    else:
        found = _run(settings, _light(settings, _wanted(settings, topic, since, until)))
    places = once_each(found)
    repeats = f" ({_amount(len(found))}, some about the same message)" if len(places) < len(found) else ""
    once = set(places)
    planned = [each for each in found if each.place in once]
    by_topic = Counter(each.letter.source_topic for each in planned)
    plan = ", ".join(f"{count} to {name}" for name, count in sorted(by_topic.items()))
    if dry_run and planned:
        _echo_table(planned)
    typer.echo(f"To publish: {plan or 'nothing'}{repeats}.")
    if dry_run or not places:
        return
    if not yes:
        typer.confirm(f"Publish {'this message' if len(places) == 1 else f'these {len(places)} messages'}?", abort=True)
    _run(settings, _replay(settings, places))


async def _newest(
    settings: KafkaSettings, wanted: DeadLetterFilter, limit: int, *, whole: bool
) -> tuple[int, list[StoredDeadLetter]]:
    """How many there are, and the newest of them by time."""
    async with open_reader(settings) as shelf:
        count, kept = 0, dict[int, deque[StoredDeadLetter]]()
        async for each in shelf.letters(wanted.since):
            if wanted.matches(each.letter):
                count += 1
                kept.setdefault(each.place.partition, deque(maxlen=limit)).append(
                    each if whole else _without_body(each)
                )
        _mention(shelf)
    newest = sorted((each for some in kept.values() for each in some), key=_age)
    return count, newest[-limit:]


async def _light(settings: KafkaSettings, wanted: DeadLetterFilter) -> list[StoredDeadLetter]:
    """All that are wanted, without what they hold: there may be many, and large ones."""
    async with open_reader(settings) as shelf:
        found = [_without_body(each) async for each in shelf.letters(wanted.since) if wanted.matches(each.letter)]
        _mention(shelf)
        return found


async def _named(settings: KafkaSettings, places: list[DeadLetterId]) -> list[StoredDeadLetter]:
    async with open_reader(settings) as shelf:
        return [await shelf.letter(place) for place in places]


async def _replay(settings: KafkaSettings, places: list[DeadLetterId]) -> None:
    """Says what it did, also when it comes to an end half way."""
    await verify(settings, ALL_TOPICS)
    allowed, sent, skipped = sources(settings.kafka_topic_prefix), 0, 0
    try:
        async with open_reader(settings) as shelf, open_replayer(settings) as replayer:
            for place in places:
                try:
                    replay = replay_of(await shelf.letter(place), allowed)
                except CannotReplay as reason:
                    typer.echo(f"Left out {reason}", err=True)
                    skipped += 1
                    continue
                await replayer.publish(replay)
                sent += 1
    finally:
        left = f", {skipped} left out" if skipped else ""
        typer.echo(f"Published {sent} of {len(places)}{left}. Doing it again is safe: consumers are idempotent.")
    if skipped:
        raise typer.Exit(1)


def _echo_table(letters: list[StoredDeadLetter]) -> None:
    typer.echo("\n".join(table(letters, shutil.get_terminal_size((_WIDTH_OF_A_PIPE, 24)).columns)))


def _without_body(shelved: StoredDeadLetter) -> StoredDeadLetter:
    return StoredDeadLetter(shelved.place, shelved.letter.model_copy(update={"source_value": None, "source_key": None}))


def _age(shelved: StoredDeadLetter) -> tuple[datetime, DeadLetterId]:
    return shelved.letter.occurred_at, shelved.place


def _amount(count: int) -> str:
    return "1 dead letter" if count == 1 else f"{count or 'No'} dead letters"


def _mention(shelf: DeadLetterReader) -> None:
    if shelf.unreadable:
        typer.echo(f"{shelf.unreadable} records of the topic are no dead letters and were passed over.", err=True)


def _wanted(settings: KafkaSettings, topic: str | None, since: str | None, until: str | None) -> DeadLetterFilter:
    names = {name for known in ALL_TOPICS for name in (known.name, settings.kafka_topic_prefix + known.name)}
    if topic is not None and topic not in names:
        _refuse(f"{topic!r} is not a topic of this system: {', '.join(each.name for each in ALL_TOPICS)}")
    now = datetime.now(UTC)
    try:
        first, last = (None if text is None else parse_time(text, now) for text in (since, until))
    except ValueError as error:
        _refuse(str(error))
    return DeadLetterFilter(topic=topic, prefix=settings.kafka_topic_prefix, since=first, until=last)


def _places(texts: list[str]) -> list[DeadLetterId]:
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
    except KafkaConnectionError as error:
        typer.echo(f"No Kafka answers at {settings.kafka_bootstrap_servers} (KAFKA_BOOTSTRAP_SERVERS).", err=True)
        raise typer.Exit(1) from error
    except _PROBLEMS as error:
        reason = "Kafka did not answer in time." if isinstance(error, TimeoutError) else str(error)
        typer.echo(reason, err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
