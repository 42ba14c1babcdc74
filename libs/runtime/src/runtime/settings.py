"""Settings come from environment variables, one variable per field. They are checked before anything starts.

A service composes its settings from these classes: `class CollectorSettings(LogSettings, HttpSettings, KafkaSettings)`.
"""

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from contracts.exchange_catalogue import load_catalogue
from contracts.vocabulary import ExchangeId
from runtime.connections.database_tls import DatabaseTlsSettings, with_tls
from runtime.connections.kafka_security import KafkaSecuritySettings
from runtime.secret_files import SecretFileError, read_secret_files
from runtime.tracing.settings import TracingSettings

S = TypeVar("S", bound=BaseSettings)


def _bootstrap_servers(value: str) -> str:
    servers = [part.strip() for part in value.split(",") if part.strip()]
    if not servers:
        raise ValueError("name at least one host:port")
    for server in servers:
        if not re.fullmatch(r"\S+:\d{1,5}", server):
            raise ValueError(f"{server!r} is not host:port")
    return ",".join(servers)


def _exchange_ids(value: str) -> str:
    ids = list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    _require_known(ids)
    return ",".join(ids)


def _require_known(exchanges: Iterable[str]) -> None:
    known = load_catalogue().exchanges
    for exchange in exchanges:
        if exchange not in known:
            close = difflib.get_close_matches(exchange.lower(), known, n=1)
            hint = f"did you mean {close[0]}?" if close else "use ccxt's ids, such as binance,kraken"
            raise ValueError(f"{exchange!r} is not an exchange that offers candles through ccxt; {hint}")


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{value!r} is not a base URL such as http://127.0.0.1:9900")
    return value.rstrip("/")


def _known_exchanges(urls: dict[str, str]) -> dict[str, str]:
    _require_known(urls)
    return urls


ExchangeList = Annotated[str, AfterValidator(_exchange_ids)]
"""Exchange ids, separated by commas."""
ExchangeUrls = Annotated[dict[ExchangeId, Annotated[str, AfterValidator(_base_url)]], AfterValidator(_known_exchanges)]
"""The base URL of each exchange, by exchange id."""


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    if parts.password is not None:
        raise ValueError("has a password, and DATABASE_PASSWORD is set, too. Remove one of them")
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        raise ValueError("has no user for DATABASE_PASSWORD; write postgresql://user@host:port/name")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def _postgres_url(value: SecretStr) -> SecretStr:
    scheme = urlsplit(value.get_secret_value()).scheme
    if scheme not in {"postgres", "postgresql", "postgresql+asyncpg"}:
        raise ValueError("must begin with postgresql://")
    return value


class LogSettings(BaseSettings):
    """Format and level of the log."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    log_format: Literal["json", "console"] = Field(
        default="json",
        description="Format of the log lines: json for log collectors, console for reading in a terminal.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO",
        description="Lowest level of the log lines that are written. Use DEBUG to investigate a problem.",
    )


class HttpSettings(BaseSettings):
    """The address of a process' HTTP server. Each service has its own default for `http_port`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    http_host: str = Field(
        default="127.0.0.1", description="IP address that the HTTP server listens on. Set 0.0.0.0 in a container."
    )
    http_port: int = Field(
        default=8000, ge=0, le=65535, description="Port that the HTTP server listens on; 0 takes a free port."
    )


class KafkaSettings(KafkaSecuritySettings):
    """The address of Kafka, the security settings, and the time limits of its clients."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    kafka_bootstrap_servers: Annotated[str, AfterValidator(_bootstrap_servers)] = Field(
        description="Address of one or more Kafka brokers as host:port, separated by commas."
    )
    kafka_topic_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="Prefix of the names of all topics and consumer groups. Set it if several systems share a cluster.",
    )
    kafka_session_timeout_ms: int = Field(
        default=10_000,
        ge=1_000,
        description="Time in milliseconds after which Kafka removes a group member that sends no heartbeat. Another "
        "process takes over after this time; a lower value causes more rebalances on slow machines.",
    )
    kafka_rebalance_timeout_ms: int = Field(
        default=60_000,
        ge=1_000,
        description="Time limit in milliseconds for the members of a group to hand over partitions in a rebalance.",
    )
    kafka_fetch_max_wait_ms: int = Field(
        default=250,
        ge=1,
        description="How long a broker waits for data before it answers a fetch, in milliseconds. A real broker "
        "answers as soon as it has data. The in-memory Kafka always waits until the end of this time.",
    )
    kafka_request_timeout_ms: int = Field(
        default=20_000, ge=1_000, description="Time limit of one request to a broker, in milliseconds."
    )
    kafka_publish_timeout_seconds: float = Field(
        default=30.0, gt=0, description="Time limit in seconds for Kafka to acknowledge a published message."
    )


class DatabaseSettings(DatabaseTlsSettings):
    """The address of Postgres, and the limits of its connections. `database_url` contains the password and the TLS
    settings.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    # This field is declared before `database_url`, because the validator of that field uses it.
    database_password: SecretStr | None = Field(
        default=None, description="Password for DATABASE_URL, if the URL contains none."
    )
    database_url: Annotated[SecretStr, AfterValidator(_postgres_url)] = Field(
        description="Address of Postgres: postgresql://user:password@host:port/name, "
        "or with a socket postgresql://user@/name?host=/path."
    )
    database_pool_size: int = Field(
        default=5,
        ge=1,
        le=100,
        description="Largest number of connections in the pool of one process. If all are in use, queries wait. "
        "admin-api has 2 more for authentication and health, and limits expensive requests by this number.",
    )
    database_command_timeout_seconds: float = Field(
        default=30.0, gt=0, description="Time limit of one SQL statement, in seconds."
    )

    @field_validator("database_url")
    @classmethod
    def _add_password(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        password: SecretStr | None = info.data.get("database_password")
        if password is None or not password.get_secret_value():
            return value
        return SecretStr(_with_password(value.get_secret_value(), password.get_secret_value()))

    @field_validator("database_url")
    @classmethod
    def _add_tls(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        return SecretStr(with_tls(value.get_secret_value(), info.data))


class TickSettings(BaseSettings):
    """Settings that must be equal in all services that publish ticks: the scheduler, and admin-api for manual runs. The
    backfiller requests ranges with the same lanes and deadline.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    exchange_lanes: dict[ExchangeId, Annotated[int, Field(ge=1, le=64)]] = Field(
        default_factory=dict,
        description='Number of lanes per exchange as JSON, such as {"binance": 2}; 1 for other exchanges. '
        "One collector handles a lane, with its own rate limit. Must be equal in all services.",
    )
    run_deadline_seconds: int = Field(
        default=120, ge=1, le=86_400, description="Time limit of a run, in seconds from its start."
    )


class AllowedExchangesSettings(BaseSettings):
    """The setting that admin-api and the collector share: the exchanges that may be collected."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    exchanges_allowed: ExchangeList = Field(
        default="",
        description="ccxt's ids of the exchanges that may be collected, separated by commas, such as binance,kraken. "
        "If empty, all exchanges are allowed. admin-api refuses configs of other exchanges, and the collector sends "
        "them no request. Must be equal in all services.",
    )

    @property
    def allowed_exchanges(self) -> frozenset[str]:
        """The allowed exchanges; empty if all are allowed."""
        return frozenset(self.exchanges_allowed.split(",")) - {""}


class DeadLetterSettings(BaseSettings):
    """Limits on dead letters. A consumer that exceeds a limit stops, because the consumer is probably at fault, and not
    the messages.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    dead_letters_max_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Largest share of dead letters among the last 1000 messages of a consumer. If the share is larger, "
        "and more than 50 messages became dead letters, the consumer stops.",
    )
    dead_letters_max_consecutive: int = Field(
        default=50,
        ge=1,
        description="Largest number of consecutive messages that may become dead letters before the consumer stops. "
        "Unreadable messages are counted per partition.",
    )
    dead_letters_max_consecutive_at_start: int = Field(
        default=10,
        ge=1,
        description="Largest number of messages after a start that may become dead letters before the first message "
        "is handled. It is lower than DEAD_LETTERS_MAX_CONSECUTIVE, so that a consumer that is restarted again and "
        "again does not turn its whole topic into dead letters.",
    )


class WorkerSettings(LogSettings, HttpSettings, KafkaSettings, DeadLetterSettings, TracingSettings):
    """The settings of every worker. Each service adds others, and `DatabaseSettings` if it needs the database."""

    shutdown_grace_seconds: float = Field(
        default=30.0,
        gt=0,
        description="How long work and HTTP requests in flight may take after SIGTERM, in seconds. The stop timeout of "
        "the container must be at least 15 seconds longer.",
    )


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An environment variable with its description."""

    variable: str
    description: str
    default: str | None
    """The default as it would be written in the environment. None if the variable is required."""
    secret: bool


def list_settings(settings_type: type[BaseSettings]) -> list[Setting]:
    """All environment variables of a settings class, in order of declaration."""
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
    """Settings from the environment, and secrets also from files (`runtime.secret_files`). If values are not valid, it
    prints one line per variable to stderr and exits with code 2.
    """
    try:
        return settings_type(**_from_files(settings_type))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        lines = [line for detail in details for line in _error_line(settings_type, detail).splitlines()]
    except SecretFileError as error:
        lines = [str(error)]
    except SettingsError as error:  # a value that is not valid JSON
        named = re.search(r'field "(\w+)"', str(error))
        lines = [f"{named.group(1).upper() if named else 'A setting'} is not valid JSON"]
    sys.stderr.write("".join(f"{line}\n" for line in dict.fromkeys(lines)))
    raise SystemExit(2)


def _from_files(settings_type: type[BaseSettings]) -> dict[str, Any]:
    """The arguments of the settings class whose values come from files."""
    secrets = {_variable(name, field): name for name, field in settings_type.model_fields.items() if _is_secret(field)}
    return {secrets[variable]: value for variable, value in read_secret_files(secrets, os.environ).items()}


def _error_line(settings_type: type[BaseSettings], detail: ErrorDetails) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else ""
    field = settings_type.model_fields.get(name)
    if field is None:
        return detail["msg"].removeprefix("Value error, ")
    variable, description = _variable(name, field), field.description or ""
    if detail["type"] == "missing":
        return f"{variable} is not set. {description}"
    inside = "".join(f"[{part}]" for part in detail["loc"][1:])
    return f"{variable}{inside} is not valid: {detail['msg'].removeprefix('Value error, ')}. {description}"


def _variable(name: str, field: FieldInfo) -> str:
    return field.validation_alias if isinstance(field.validation_alias, str) else name.upper()


def _default_text(field: FieldInfo) -> str | None:
    if field.is_required():
        return None
    default: Any = field.get_default(call_default_factory=True, validated_data={})
    if default is None or default is PydanticUndefined or _is_secret(field):
        return ""
    return (
        json.dumps(default) if isinstance(default, (list, dict)) else str(default)
    )  # the format in which the variable is read


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr or "SecretStr" in str(field.annotation)
