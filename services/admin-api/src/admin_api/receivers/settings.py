"""The settings of notifications. `admin_api.settings` includes them."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from admin_api.receivers.addresses import addresses_in
from admin_api.receivers.quiet_hours import QuietHours, parse


class ProblemKind(StrEnum):
    """The problems that are notified."""

    FAILED_RUNS = "failed_runs"
    """The last run of some configs failed."""
    NO_RUNS = "no_runs"
    """Configs have had no run for three of their intervals: the scheduler, Kafka or the collector is down."""
    STUCK_RUNS = "stuck_runs"
    """Runs are in progress for 30 minutes."""
    CANDLES_AT_RISK = "candles_at_risk"
    """An exchange will soon stop offering candles that are not stored."""


class Severity(StrEnum):
    """The severities, as in the alerts. A critical problem needs a person at once; a warning can wait until the
    morning.
    """

    WARNING = "warning"
    CRITICAL = "critical"


SEVERITIES: Final = {
    ProblemKind.FAILED_RUNS: Severity.WARNING,
    ProblemKind.NO_RUNS: Severity.CRITICAL,
    ProblemKind.STUCK_RUNS: Severity.WARNING,
    ProblemKind.CANDLES_AT_RISK: Severity.CRITICAL,
}


def _known_addresses(value: SecretStr) -> SecretStr:
    addresses_in(value.get_secret_value())
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError) as error:
        raise ValueError(f"{value!r} is not a time zone such as Europe/Berlin") from error
    return value


def _base_address(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment):
        raise ValueError("must be an address such as https://candles.example.com")
    return value.rstrip("/")


class NotificationSettings(BaseSettings):
    """Settings of the notifications that admin-api sends itself, without Prometheus."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    notify_urls: Annotated[SecretStr, AfterValidator(_known_addresses)] = Field(
        default=SecretStr(""),
        description="Receivers of notifications as Apprise URLs, separated by spaces or line breaks, such as "
        "slack://… tgram://… mailtos://… jsons://…. If empty, no notifications are sent.",
    )
    notify_problems: list[ProblemKind] = Field(
        default=list(ProblemKind),
        min_length=1,
        description="Kinds of problems that are notified, as a JSON list.",
    )
    notify_min_severity: Severity = Field(
        default=Severity.WARNING,
        description="Lowest severity that is notified: warning or critical. The kinds no_runs and candles_at_risk are "
        "critical, the others are warnings.",
    )
    notify_group_seconds: int = Field(
        default=120,
        ge=0,
        le=3600,
        description="Time in seconds that a problem must last before its message is sent, so that one message has all "
        "affected configs. A problem is over if it is absent for the same time. Raise it if short problems disturb.",
    )
    notify_repeat_hours: float = Field(
        default=24,
        ge=0.1,
        le=8760,
        description="Time in hours after which the message about a problem that lasts is sent again.",
    )
    notify_quiet_hours: str = Field(
        default="",
        description="Times in which messages wait, separated by commas, such as 22:00-07:00, or with days: "
        "Mon-Fri 22:00-07:00, Sat-Sun 00:00-24:00. Afterwards, one summary follows, also about problems that are over.",
    )
    notify_critical_in_quiet_hours: bool = Field(
        default=False, description="Set true to receive messages about critical problems also in quiet hours."
    )
    notify_time_zone: Annotated[str, AfterValidator(_time_zone)] = Field(
        default="UTC", description="Time zone of NOTIFY_QUIET_HOURS and of the times in messages: Europe/Berlin."
    )
    notify_dashboard_url: Annotated[str, AfterValidator(_base_address)] = Field(
        default="",
        description="Address of the dashboard for links in messages, such as https://candles.example.com. If empty, "
        "messages have no links.",
    )
    notify_timeout_seconds: float = Field(
        default=30, ge=1, le=120, description="Time limit in seconds for one message to one receiver."
    )

    @model_validator(mode="after")
    def _quiet_hours_are_valid(self) -> Self:
        try:
            parse(self.notify_quiet_hours, ZoneInfo(self.notify_time_zone))
        except ValueError as error:
            raise ValueError(f"NOTIFY_QUIET_HOURS is not valid: {error}") from error
        return self

    @property
    def time_zone(self) -> ZoneInfo:
        return ZoneInfo(self.notify_time_zone)

    @property
    def quiet_hours(self) -> QuietHours:
        return parse(self.notify_quiet_hours, self.time_zone)

    @property
    def window(self) -> timedelta:
        return timedelta(seconds=self.notify_group_seconds)

    @property
    def repeat(self) -> timedelta:
        return timedelta(hours=self.notify_repeat_hours)

    def wants(self, kind: ProblemKind) -> bool:
        """Whether problems of this kind are notified."""
        severe = self.notify_min_severity is Severity.WARNING or SEVERITIES[kind] is Severity.CRITICAL
        return severe and kind in self.notify_problems
