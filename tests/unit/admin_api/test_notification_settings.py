"""The settings of notifications: quiet hours, addresses of receivers, and secrets that no text contains."""

import io
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from admin_api.receivers.addresses import addresses_in
from admin_api.receivers.quiet_hours import parse
from admin_api.receivers.sending import MessageType, NotSent, Receiver
from admin_api.receivers.settings import NotificationSettings, ProblemKind
from runtime.settings import load_settings

SECRET = "Hx7Secret9Qz"
CLOSED = f"json://user:{SECRET}@127.0.0.1:1/hooks/{SECRET}abc?+X-Key={SECRET}def"
"""Nothing listens there."""
WEDNESDAY = datetime(2026, 3, 4, tzinfo=UTC)


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """The lines that reach the handler of the root logger at the level DEBUG. Pytest's `caplog` has more: it adds its
    handler also to loggers that do not propagate.
    """
    root, text = logging.getLogger(), io.StringIO()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize(
    ("text", "quiet", "loud"),
    [
        ("", [], ["00:00", "12:00"]),
        ("22:00-07:00", ["22:00", "23:59", "00:00", "06:59"], ["07:00", "21:59", "12:00"]),
        ("12:00-13:00", ["12:00", "12:59"], ["11:59", "13:00"]),
        ("Wed 12:00-13:00, Thu 14:00-15:00", ["12:30"], ["14:30"]),
        ("Tue 22:00-07:00", ["06:00"], ["22:30"]),
        ("Sat-Mon 00:00-24:00", [], ["00:00", "12:00", "23:59"]),
        ("Tue-Thu 00:00-24:00", ["00:00", "12:00", "23:59"], []),
        ("Fri-Wed 08:00-09:00", ["08:30"], ["09:30"]),
    ],
)
def test_quiet_hours(text: str, quiet: list[str], loud: list[str]) -> None:
    hours = parse(text, UTC)

    def is_quiet(time: str) -> bool:
        hour, minute = map(int, time.split(":"))
        return hours.contain(WEDNESDAY + timedelta(hours=hour, minutes=minute))

    assert [is_quiet(time) for time in quiet] == [True] * len(quiet)
    assert [is_quiet(time) for time in loud] == [False] * len(loud)


def test_quiet_hours_follow_the_time_zone_and_its_summer_time() -> None:
    hours = parse("22:00-07:00", ZoneInfo("Europe/Berlin"))
    assert hours.contain(datetime(2026, 1, 10, 5, 30, tzinfo=UTC))
    assert not hours.contain(datetime(2026, 7, 10, 5, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    "text", ["22-07", "25:00-07:00", "22:00-22:00", "24:00-07:00", "Foo 10:00-11:00", "10:60-11:00"]
)
def test_wrong_quiet_hours_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="NOTIFY_QUIET_HOURS is not valid"):
        NotificationSettings(notify_quiet_hours=text)


def test_without_addresses_nothing_is_sent() -> None:
    assert addresses_in("") == addresses_in(" \n ") == []


def test_a_wrong_address_is_named_by_its_place_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTIFY_URLS", f"json://127.0.0.1/hook slakc://{SECRET}/{SECRET}/{SECRET}")
    with pytest.raises(SystemExit):
        load_settings(NotificationSettings)
    shown = capsys.readouterr().err
    assert "NOTIFY_URLS is not valid: address 2 (slakc) is not one that Apprise knows" in shown
    assert SECRET not in shown


def test_the_id_of_a_receiver_does_not_depend_on_its_password() -> None:
    first, second, other = addresses_in(
        f"json://user:{SECRET}@127.0.0.1/a json://user:changed@127.0.0.1/b json://user:{SECRET}@127.0.0.1/c"
    )
    (changed,) = addresses_in("json://user:changed@127.0.0.1/a")
    assert changed.id == first.id
    assert len({first.id, second.id, other.id}) == 3
    twice = addresses_in("json://127.0.0.1/a json://127.0.0.1/a")
    assert len({each.id for each in twice}) == 2


def test_kinds_and_severities_choose_the_problems() -> None:
    urgent = NotificationSettings(notify_min_severity="critical")
    assert [kind for kind in ProblemKind if urgent.wants(kind)] == [ProblemKind.NO_RUNS, ProblemKind.CANDLES_AT_RISK]
    chosen = NotificationSettings(notify_problems=["stuck_runs"])
    assert [kind for kind in ProblemKind if chosen.wants(kind)] == [ProblemKind.STUCK_RUNS]


@pytest.mark.parametrize(
    "url",
    [
        f"slack://{SECRET}/{SECRET}/{SECRET}/#channel",
        f"tgram://123456789:{SECRET}/12315544/",
        f"mailtos://user:{SECRET}@mail.example.com?to=ops@example.com",
        f"jsons://hooks.example.com/{SECRET}?+X-Key={SECRET}",
        f"slack://name@{SECRET}/{SECRET}/{SECRET}/",
    ],
)
def test_no_part_of_an_address_stays_in_a_reason(url: str) -> None:
    (address,) = addresses_in(url)
    assert SECRET not in address.redacted(f"cannot send to {url}: {SECRET}")
    assert "cannot send" in address.redacted(f"cannot send to {url}: {SECRET}")


async def test_a_failure_says_what_failed_without_secrets_even_at_the_level_debug(
    everything_logged: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    (address,) = addresses_in(CLOSED)
    with pytest.raises(NotSent, match="Connection error") as caught:
        await Receiver(address, 30).send("title", "body", MessageType.WARNING)
    assert "127.0.0.1" in str(caught.value)
    assert SECRET not in str(caught.value) + everything_logged.getvalue() + "".join(capfd.readouterr())
