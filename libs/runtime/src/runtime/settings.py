"""Settings come from environment variables, one flat variable per field, and are checked before anything starts.

A service composes its settings from these mixins: `class CollectorSettings(LogSettings, HttpSettings, KafkaSettings)`.
"""

import json
import re
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from contracts.vocabulary import ExchangeId

S = TypeVar("S", bound=BaseSettings)


def _bootstrap_servers(value: str) -> str:
    servers = [part.strip() for part in value.split(",") if part.strip()]
    if not servers:
        raise ValueError("name at least one host:port")
    for server in servers:
        if not re.fullmatch(r"\S+:\d{1,5}", server):
            raise ValueError(f"{server!r} is not host:port")
    return ",".join(servers)


def _postgres_url(value: SecretStr) -> SecretStr:
    scheme = urlsplit(value.get_secret_value()).scheme
    if scheme not in {"postgres", "postgresql", "postgresql+asyncpg"}:
        raise ValueError("must begin with postgresql://")
    return value


class LogSettings(BaseSettings):
    """How a process talks to its operator."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    log_format: Literal["json", "console"] = Field(
        default="json", description="json for machines, console for people at a terminal."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least severe level that is written."
    )


class HttpSettings(BaseSettings):
    """Where a process answers HTTP; every service gives `http_port` its own default."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    http_host: str = Field(default="127.0.0.1", description="The address to listen on; 0.0.0.0 in a container.")
    http_port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")


class KafkaSettings(BaseSettings):
    """How to reach Kafka and how patient to be with it."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    kafka_bootstrap_servers: Annotated[str, AfterValidator(_bootstrap_servers)] = Field(
        description="Kafka's address as host:port; several are separated by commas."
    )
    kafka_topic_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="Put before every topic and consumer group, so that several systems can share a cluster.",
    )
    kafka_session_timeout_ms: int = Field(
        default=10_000,
        ge=1_000,
        description="A member that is silent for this long is dead; also the time of a failover.",
    )
    kafka_rebalance_timeout_ms: int = Field(
        default=60_000, ge=1_000, description="How long the group waits for its members to hand over partitions."
    )
    kafka_fetch_max_wait_ms: int = Field(
        default=100,
        ge=1,
        description="How long the broker may hold an empty fetch. A real broker ends it when data arrives; the "
        "in-memory one does not, there this is the latency.",
    )
    kafka_request_timeout_ms: int = Field(default=20_000, ge=1_000, description="The limit of one request to a broker.")
    kafka_publish_timeout_seconds: float = Field(
        default=30.0, gt=0, description="How long a publication may wait for its acknowledgement."
    )


class DatabaseSettings(BaseSettings):
    """How to reach Postgres and how patient to be with it."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: Annotated[SecretStr, AfterValidator(_postgres_url)] = Field(
        description="Postgres' address: postgresql://user:password@host:port/name, "
        "or with a socket postgresql://user@/name?host=/path."
    )
    database_pool_size: int = Field(default=5, ge=1, le=100, description="Connections kept open.")
    database_command_timeout_seconds: float = Field(default=30.0, gt=0, description="The limit of one statement.")


class TickSettings(BaseSettings):
    """What all who emit ticks must agree on: the scheduler, and admin-api for manual triggers."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    exchange_lanes: dict[ExchangeId, Annotated[int, Field(ge=1, le=64)]] = Field(
        default_factory=dict,
        description='Lanes per exchange as JSON, such as {"binance": 2}; 1 where an exchange is not named. '
        "Each lane is worked by one collector with a rate budget of its own. The same for all services.",
    )
    run_deadline_seconds: int = Field(default=120, ge=1, description="How long a run may take once it has started.")


class DeadLetterSettings(BaseSettings):
    """How many messages a consumer may put aside before it stops: so many mean that it is at fault, not they."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    dead_letters_max_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="The consumer stops when a larger share of its last 1000 messages, and more than 50 of them, "
        "became dead letters.",
    )
    dead_letters_max_consecutive: int = Field(
        default=50,
        ge=1,
        description="The consumer stops when more messages than this in a row become dead letters; unreadable ones are "
        "counted by partition.",
    )
    dead_letters_max_consecutive_at_start: int = Field(
        default=10,
        ge=1,
        description="The same for the first messages since the start, of which none could be handled yet: a consumer "
        "that is started again and again must not empty its topic.",
    )


class WorkerSettings(LogSettings, HttpSettings, KafkaSettings, DeadLetterSettings):
    """What every worker reads; each adds its own, and `DatabaseSettings` where it writes."""

    shutdown_grace_seconds: float = Field(
        default=30.0, gt=0, description="After SIGTERM, work in hand may take this long to finish."
    )


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One environment variable, described."""

    variable: str
    description: str
    default: str | None
    """As it would be written in the environment; None when the variable is required."""
    secret: bool


def list_settings(settings_type: type[BaseSettings]) -> list[Setting]:
    """All environment variables that a settings class reads, in order of declaration."""
    return [
        Setting(
            variable=_variable(name, field),
            description=field.description or "",
            default=_default_text(field),
            secret=_is_secret(field),
        )
        for name, field in settings_type.model_fields.items()
    ]


def load_settings(settings_type: type[S]) -> S:
    """Settings from the environment. On a bad value: one line per variable on stderr, then exit 2."""
    try:
        return settings_type()
    except ValidationError as error:
        lines = [_complaint(settings_type, detail) for detail in error.errors(include_url=False, include_context=False)]
    except SettingsError as error:  # a value that should be JSON and is not
        named = re.search(r'field "(\w+)"', str(error))
        lines = [f"{named.group(1).upper() if named else 'A setting'} is not valid JSON"]
    sys.stderr.write("".join(f"{line}\n" for line in dict.fromkeys(lines)))
    raise SystemExit(2)


def _complaint(settings_type: type[BaseSettings], detail: ErrorDetails) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else ""
    field = settings_type.model_fields.get(name)
    if field is None:
        return detail["msg"].removeprefix("Value error, ")
    variable, wanted = _variable(name, field), field.description or ""
    if detail["type"] == "missing":
        return f"{variable} is not set. {wanted}"
    inside = "".join(f"[{part}]" for part in detail["loc"][1:])
    return f"{variable}{inside} is not valid: {detail['msg'].removeprefix('Value error, ')}. {wanted}"


def _variable(name: str, field: FieldInfo) -> str:
    return field.validation_alias if isinstance(field.validation_alias, str) else name.upper()


def _default_text(field: FieldInfo) -> str | None:
    if field.is_required():
        return None
    default: Any = field.get_default(call_default_factory=True, validated_data={})
    if default is None or default is PydanticUndefined or _is_secret(field):
        return ""
    return json.dumps(default) if isinstance(default, (list, dict)) else str(default)  # as the variable is read


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr or "SecretStr" in str(field.annotation)
