"""Request and response bodies of configs. Field names are the guide's; additions come after them."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from admin_api.http.input_types import (
    Description,
    ExchangeText,
    IntervalMinutes,
    StrictInput,
    SymbolText,
    TimeframeTexts,
)

ADVISED_INTERVAL_MINUTES = 5


class NewConfig(StrictInput):
    """What to collect."""

    symbol: SymbolText
    exchange: ExchangeText
    timeframes: TimeframeTexts
    interval_minutes: IntervalMinutes = 10
    enabled: bool = True
    description: Description | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "symbol": "ETH/USDT",
                    "exchange": "binance",
                    "timeframes": ["1m", "5m", "15m", "1h", "4h", "1d"],
                    "interval_minutes": 10,
                    "enabled": True,
                    "description": "Ethereum data collection",
                }
            ]
        }
    )


def _optional_but_not_null(schema: dict[str, Any]) -> None:
    """What the validator below enforces, said in JSON Schema."""
    for name, field in schema["properties"].items():
        del field["default"]
        if name != "description":
            (kind, _null) = field.pop("anyOf")
            field.update(kind)


class ConfigChanges(StrictInput):
    """A partial update: what is left out stays. Only `description` can be set to null."""

    symbol: SymbolText | None = None
    exchange: ExchangeText | None = None
    timeframes: TimeframeTexts | None = None
    interval_minutes: IntervalMinutes | None = None
    enabled: bool | None = None
    description: Description | None = None

    model_config = ConfigDict(json_schema_extra=_optional_but_not_null)

    @model_validator(mode="after")
    def _null_is_not_a_value(self) -> Self:
        nulls = [name for name in self.model_fields_set if name != "description" and getattr(self, name) is None]
        if nulls:
            raise ValueError(f"leave {', '.join(sorted(nulls))} out to keep it; null is not a value for it")
        return self

    def named(self) -> dict[str, Any]:
        """Only what the caller sent."""
        return self.model_dump(exclude_unset=True)


class Config(BaseModel):
    """A collection config."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    symbol: str
    exchange: str
    timeframes: list[str]
    interval_minutes: int
    enabled: bool
    job_id: str = Field(description="The name under which its runs are logged.", examples=["collect_data_1"])
    created_at: datetime
    description: str | None
    version: int = Field(description="Raised by every change.")
    updated_at: datetime

    @computed_field(description="Advice on this config; empty when there is none.")  # type: ignore[prop-decorator]
    @property
    def warnings(self) -> list[str]:
        return advice(self.interval_minutes)


def advice(interval_minutes: int) -> list[str]:
    """What an experienced operator would say about a config."""
    if interval_minutes >= ADVISED_INTERVAL_MINUTES:
        return []
    reason = "exchanges limit the rate of requests, and very frequent jobs fill the database"
    return [f"interval_minutes is {interval_minutes}; {ADVISED_INTERVAL_MINUTES} or more is advised: {reason}"]


class TriggerAccepted(BaseModel):
    """A run was asked for; it appears in the execution logs under this run_id."""

    run_id: UUID
    config_id: int
    job_id: str
    status: Literal["accepted"] = "accepted"
    scheduled_for: datetime
