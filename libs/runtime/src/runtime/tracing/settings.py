"""The settings of tracing. They have the standard names of OpenTelemetry."""

import re
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_HEADER: Final = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=([\x20-\x7e]*)")


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment):
        raise ValueError("must be a base URL such as http://otel.example.org:4318")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user or a password: set OTEL_EXPORTER_OTLP_HEADERS")
    return value.rstrip("/")


def _headers(value: SecretStr | None) -> SecretStr | None:
    _parse_headers(value)
    return value


def _parse_headers(value: SecretStr | None) -> dict[str, str]:
    """Parse the headers. Raises `ValueError`; its message does not contain the value."""
    headers = {}
    for item in (value.get_secret_value() if value else "").split(","):
        if not item.strip():
            continue
        parts = _HEADER.fullmatch(item)
        if parts is None:
            raise ValueError("must be name=value pairs, separated by commas; write other characters as %2C and so on")
        headers[parts[1].lower()] = unquote(parts[2]).strip()
    return headers


class TracingSettings(BaseSettings):
    """Where the traces are sent. OpenTelemetry's SDK reads further variables of its own."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    otel_exporter_otlp_endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        default="",
        description="Base URL of the OpenTelemetry endpoint that receives the traces of runs by OTLP over HTTP, such "
        "as http://otel.example.org:4318. If empty, nothing is traced.",
    )
    otel_exporter_otlp_headers: Annotated[SecretStr | None, AfterValidator(_headers)] = Field(
        default=None,
        description="HTTP headers for this endpoint as name=value, separated by commas, such as the key of a tracing "
        "service.",
    )
    otel_traces_sampler_arg: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the runs that are traced, from 0 to 1. Lower it if the endpoint receives too much. Must "
        "be equal in all services.",
    )

    @property
    def otlp_headers(self) -> dict[str, str]:
        """The headers by name."""
        return _parse_headers(self.otel_exporter_otlp_headers)
