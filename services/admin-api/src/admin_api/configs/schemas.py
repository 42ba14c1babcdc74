"""The request and response bodies of configs. The guide's fields come first, then our additional fields."""

from datetime import datetime
from typing import Any, Final, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from admin_api.http.exchange_catalogue import loss_warnings
from admin_api.http.input_types import (
    Description,
    ExchangeText,
    IntervalMinutes,
    StartDate,
    StrictInput,
    SymbolText,
    TimeframeTexts,
)

RECOMMENDED_INTERVAL_MINUTES = 5
_NULLABLE: Final = frozenset({"description", "start_date"})
"""The fields of a config that can be null."""


class NewConfig(StrictInput):
    """A config to create."""

    symbol: SymbolText
    exchange: ExchangeText
    timeframes: TimeframeTexts
    interval_minutes: IntervalMinutes = 10
    enabled: bool = True
    description: Description | None = None
    start_date: StartDate | None = None

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
    """The rule of the validator `_null_is_not_a_value`, as JSON Schema."""
    for name, field in schema["properties"].items():
        del field["default"]
        if name not in _NULLABLE:
            (kind, _null) = field.pop("anyOf")
            field.update(kind)


class ConfigChanges(StrictInput):
    """A partial update: omitted fields keep their values. Only `description` and `start_date` can be
    set to null.
    """

    symbol: SymbolText | None = None
    exchange: ExchangeText | None = None
    timeframes: TimeframeTexts | None = None
    interval_minutes: IntervalMinutes | None = None
    enabled: bool | None = None
    description: Description | None = None
    start_date: StartDate | None = None

    model_config = ConfigDict(json_schema_extra=_optional_but_not_null)

    @model_validator(mode="after")
    def _null_is_not_a_value(self) -> Self:
        nulls = [name for name in self.model_fields_set if name not in _NULLABLE and getattr(self, name) is None]
        if nulls:
            raise ValueError(f"null is not allowed for {', '.join(sorted(nulls))}; to keep a value, omit its field")
        return self

    def named(self) -> dict[str, Any]:
        """The fields that the caller sent."""
        return self.model_dump(exclude_unset=True)


class MarketStatus(BaseModel):
    """The state of the market of a config, from the lists of markets of its exchange."""

    state: Literal["listed", "missing", "suspended", "renamed", "delisted", "not_listed"] = Field(
        description="`missing`: absent from the last list, which is not confirmed yet. `not_listed`: in no list of the "
        "exchange until now."
    )
    since: datetime = Field(description="The time of the first list that shows this state.")
    message: str = Field(description="The state, its consequence, and what to do, in words.")
    evidence: str = Field(description="The lists behind it, in words.")
    renamed_to: str | None = Field(default=None, description="The symbol under which the exchange lists the market.")


class Config(BaseModel):
    """A collection config."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    symbol: str
    exchange: str
    timeframes: list[str]
    interval_minutes: int
    enabled: bool
    job_id: str = Field(description="The job name in the run log.", examples=["collect_data_1"])
    created_at: datetime
    description: str | None
    start_date: str | None = Field(
        default=None,
        description="The day (YYYY-MM-DD, UTC) from which the history is kept complete, or `listing`. Null: from the "
        "first run.",
    )
    version: int = Field(description="Every change raises it.")
    updated_at: datetime
    market: MarketStatus | None = Field(
        default=None,
        description="The state of the market. Null: no list of the markets of this exchange was read yet. Also null in "
        "responses to changes.",
    )

    @computed_field(description="Warnings about this config; empty if there are none.")  # type: ignore[prop-decorator]
    @property
    def warnings(self) -> list[str]:
        return warnings_about(self)


def warnings_about(config: "NewConfig | Config") -> list[str]:
    """Warnings about a config: its runs are too frequent, or they are so rare that candles are lost between them."""
    losses = loss_warnings(config.exchange, config.symbol, config.timeframes, config.interval_minutes)
    if config.interval_minutes >= RECOMMENDED_INTERVAL_MINUTES:
        return losses
    reason = "exchanges limit the rate of requests, and frequent runs fill the database"
    interval = f"interval_minutes is {config.interval_minutes}; {RECOMMENDED_INTERVAL_MINUTES} or more is recommended"
    return [f"{interval}: {reason}", *losses]


class TriggerAccepted(BaseModel):
    """An accepted trigger. The run appears in the execution logs with this run_id."""

    run_id: UUID
    config_id: int
    job_id: str
    status: Literal["accepted"] = "accepted"
    scheduled_for: datetime
