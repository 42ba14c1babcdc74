"""The query and the response of GET /completeness."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from admin_api.http.cursors import MAX_LENGTH
from admin_api.http.input_types import FilterText, Input, QueryDate, QueryInteger, RowId

MAX_CONFIGS: Final = 100


class GroupBy(StrEnum):
    """The series that are counted together."""

    TOTAL = "total"
    EXCHANGE = "exchange"
    CONFIG = "config"
    SERIES = "series"


class CompletenessQuery(Input):
    """The query parameters of completeness. Unknown parameters are refused."""

    exchange: FilterText | None = Field(default=None, examples=["binance"])
    symbol: FilterText | None = Field(default=None, examples=["BTC/USDT"])
    timeframe: FilterText | None = Field(default=None, examples=["1m"])
    config_id: Annotated[list[RowId], Field(max_length=MAX_CONFIGS)] | None = Field(
        default=None,
        description="Only the series that this config collects. Repeat the parameter for several configs.",
    )
    start: QueryDate | None = Field(
        default=None,
        description="Only periods that open on this day (UTC) or later. If it is left out, from the start of each "
        "series on.",
    )
    end: QueryDate | None = Field(
        default=None,
        description="Only periods that open before this day (UTC).",
        examples=["2025-02-01"],
    )
    group_by: GroupBy = Field(
        default=GroupBy.TOTAL,
        description="`total`: one row. `exchange`, `config`: one row for each. Series without a config belong to no "
        "row of `config`. `series`: one row per exchange, symbol and timeframe.",
    )
    per_day: bool = Field(
        default=False,
        description="Each row also has the numbers of each day, for example for a heat map. Needs `start`; without "
        "`end`, up to today. At most 366 days. A page may have fewer rows than `limit`.",
    )
    limit: QueryInteger = Field(default=100, ge=1, le=1000, description="The maximum number of rows.")
    cursor: str | None = Field(
        default=None,
        max_length=MAX_LENGTH,
        description='The start of the page, from the Link header (rel="next") of the previous page. The other '
        "parameters except `limit` must stay the same.",
    )

    @property
    def has_filters(self) -> bool:
        """Whether the request is limited to some series."""
        return any(value is not None for value in (self.exchange, self.symbol, self.timeframe, self.config_id))

    def filters(self) -> dict[str, Any]:
        """The parameters that determine the rows, as JSON types."""
        return self.model_dump(mode="json", exclude={"limit", "cursor"}, exclude_none=True)


class DayCompleteness(BaseModel):
    """The completeness of a group of series on one day."""

    day: date = Field(description="UTC.")
    closed_periods: int = Field(description="The periods that open on this day and have ended, of all series.")
    verified_periods: int
    whole_periods: int
    answered_periods: int
    whole: float = Field(ge=0, le=1, description="As for the row.")
    answered: float = Field(ge=0, le=1, description="As for the row.")


class Completeness(BaseModel):
    """The completeness of a group of series in a range.

    A period is the time range of one candle. It belongs to the day (UTC) in which it opens. The range of a series
    begins with its first known instant, or with the start date of its config if that is earlier. If a listing is
    proved, it begins with the listing. It ends ten minutes before now, or with its last verified instant if that is
    later. For series that no enabled config collects, it ends with the last instant that is verified or finally absent.
    """

    exchange: str | None = Field(default=None, description="Null, if rows are not grouped by it.", examples=["binance"])
    symbol: str | None = Field(default=None, description="Null like `exchange`.", examples=["BTC/USDT"])
    timeframe: str | None = Field(default=None, description="Null like `exchange`.", examples=["1m"])
    config_id: int | None = Field(default=None, description="Null like `exchange`.")
    series: int = Field(description="The number of series that are stored or that a config collects.")
    series_without_answers: int = Field(
        description="Those of them about which nothing is known yet. Their periods count from the start date of the "
        "config on; without a start date, they have none."
    )
    series_not_counted: int = Field(
        description="Those of them whose periods are not counted yet. Only after an upgrade, for a few minutes."
    )
    start: datetime | None = Field(description="The start of the first period. Null if there are no periods.")
    end: datetime | None = Field(description="The end of the last period. Null if there are no periods.")
    closed_periods: int = Field(description="The number of periods of all series. All of them have ended.")
    verified_periods: int = Field(description="The periods that lie completely in verified spans.")
    whole_periods: int = Field(
        description="The periods that lie completely in verified spans and in absences that leave a series whole."
    )
    answered_periods: int = Field(
        description="The periods that lie completely in verified spans and in absences of a final class."
    )
    whole: float | None = Field(
        ge=0,
        le=1,
        description="`whole_periods` / `closed_periods`, not rounded. 1: every candle that exists is stored. Null if "
        "there are no periods.",
        examples=[0.9999614197530864],
    )
    answered: float | None = Field(
        ge=0,
        le=1,
        description="`answered_periods` / `closed_periods`, not rounded. 1: nothing is unknown. Provisional "
        "absences count until another answer replaces them. Null if there are no periods.",
        examples=[1.0],
    )
    whole_percent: float | None = Field(
        ge=0,
        le=100,
        description="`whole` in percent with two decimals, rounded down. So 100 means all.",
        examples=[99.99],
    )
    answered_percent: float | None = Field(
        ge=0, le=100, description="`answered` in percent, like `whole_percent`.", examples=[100.0]
    )
    days: list[DayCompleteness] | None = Field(
        default=None,
        description="Each day on which a period opens, ascending. The numbers of a row are the sums of those of its "
        "days. Null without `per_day`.",
    )
