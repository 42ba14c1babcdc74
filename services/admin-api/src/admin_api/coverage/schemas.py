"""The query and the response of GET /coverage."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from admin_api.candles.series_lookup import SeriesName
from admin_api.http.cursors import MAX_LENGTH
from admin_api.http.input_types import QueryInstant, QueryInteger
from contracts.coverage import AbsenceClass

_PERIOD = "A period is the time range of one candle, by the calendar for months and years."


UNKNOWN: Final = AbsenceClass.UNKNOWN.value
"""The class `unknown`. An open hole that no run has reported also has this class."""


class CoverageQuery(SeriesName):
    """The query parameters of coverage. Unknown parameters are refused."""

    start: QueryInstant | None = Field(
        default=None,
        description="Only candles that open at this time or later; UTC if it has no time zone. If it is left out, from "
        "the first known instant of the series on.",
    )
    end: QueryInstant | None = Field(
        default=None,
        description="Only candles that open before this time. If it is left out, up to the latest closed candle.",
        examples=["2025-01-16T10:00:00Z"],
    )
    limit: QueryInteger = Field(
        default=100,
        ge=1,
        le=1000,
        description="The maximum number of spans: verified spans, open holes and absences together.",
    )
    cursor: str | None = Field(
        default=None,
        max_length=MAX_LENGTH,
        description='The start of the page, from the Link header (rel="next") of the previous page. The other '
        "parameters except `limit` must stay the same.",
    )

    def filters(self) -> dict[str, Any]:
        """The parameters that determine the spans, as JSON types."""
        return self.model_dump(mode="json", exclude={"limit", "cursor"}, exclude_none=True)


class CoverageSpan(BaseModel):
    """A half-open interval of time: from `start` up to, but not including, `end`."""

    model_config = ConfigDict(from_attributes=True)

    start: datetime = Field(examples=["2026-11-22T12:00:00Z"])
    end: datetime = Field(examples=["2026-11-22T12:20:00Z"])
    periods: int = Field(description=f"The number of whole periods in it. {_PERIOD}", examples=[20])


class Repair(BaseModel):
    """The requests of the backfiller for a span, all chunks of it together."""

    state: str = Field(
        description="`requested`: a run reads it, or its candles are being stored. `waiting`: it is requested at "
        "`next_attempt_at` or later. `failed`: the exchange refuses it; it is tried again rarely.",
        examples=["waiting"],
    )
    chunks: int = Field(description="The number of chunks that contain a part of the span.")
    attempts: int = Field(description="The attempts of the chunk with most of them.")
    next_attempt_at: datetime | None = Field(description="The next request. Null: it is requested now.")
    reason: str | None = Field(
        description="The result of the latest attempt, or the reason of the wait, in words. Null: no attempt yet."
    )
    error_class: str | None = Field(description="The error class of the latest attempt. Null: none, or it succeeded.")
    loss_at: datetime | None = Field(
        description="When the exchange stops offering the oldest candle. Null: no limit is known."
    )


class ClassifiedSpan(CoverageSpan):
    """A span that is not verified, with the latest check of it."""

    absence_class: str = Field(
        examples=[each.value for each in AbsenceClass],
        description="`unread`: not requested yet. `unknown`: nothing proves whether candles exist; without evidence, "
        "no run has reported it. `rejected`: the exchange repeats rows that cannot be candles. `beyond_horizon`: the "
        "exchange no longer offers candles of this age. `before_listing`, `delisted`: the symbol was not traded yet, "
        "or no longer. `no_trade`: no trade of this symbol. `outage`: the exchange did not trade. `lost_at_source`: "
        "the exchange traded, but it has no candles of this time.",
    )
    evidence: str | None = Field(
        default=None,
        description="The answers or limits behind it, in words. Null if no run has reported it.",
        examples=["2 answers began at 12:20 instead of 12:00"],
    )
    first_seen: datetime | None = Field(
        default=None, description="The first check that reported it. Null if no run has reported it."
    )
    last_checked: datetime | None = Field(default=None, description="The latest check. Null if no run has reported it.")
    run_id: UUID | None = Field(
        default=None, description="The run of the latest check. Null if no run has reported it."
    )
    level: int = Field(default=0, ge=0, le=7, description="The level of the evidence. 0: none beyond the words.")
    proof: list[dict[str, Any]] = Field(
        default_factory=list, description="The requests and answers: level, kind, asked, answered, at and run_ids."
    )
    recheck_at: datetime | None = Field(
        default=None, description="When the span is checked again. Null: at no certain time."
    )
    repair: Repair | None = Field(
        default=None, description="The attempts to read it. Null: the backfiller has planned none."
    )

    @field_validator("absence_class")
    @classmethod
    def _current_name(cls, value: str) -> str:
        """Replace the names in rows of earlier releases, which are no longer used."""
        return AbsenceClass(value).value

    @field_validator("proof", mode="before")
    @classmethod
    def _no_proof(cls, value: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        return value or []


class NextLoss(BaseModel):
    """The first missing span that the exchange still offers, and when it stops."""

    start: datetime
    end: datetime
    lost_at: datetime = Field(description="When the exchange stops offering the first candle of the span.")
    text: str = Field(examples=["2026-11-22 09:00 to 2026-11-22 09:12 UTC begins to be lost forever in 3 h 12 min"])


class RejectedCount(BaseModel):
    """The rejected rows in the range."""

    count: int = Field(description="The number of different rows that open in the requested range.")
    link: str = Field(
        description="The list of these rows: path and query of `GET /rejected-candles`.",
        examples=["/api/v1/admin/data-collection/rejected-candles?exchange=binance&symbol=BTC%2FUSDT&timeframe=1m"],
    )


class Coverage(BaseModel):
    """The verified and the missing parts of a range of one series.

    `before_first_verified`, the verified spans, the open holes and `not_yet_verified` together are the whole range, and
    do not overlap. Absences lie in `before_first_verified` and `not_yet_verified`.
    """

    exchange: str = Field(examples=["binance"])
    symbol: str = Field(examples=["BTC/USDT"])
    timeframe: str = Field(examples=["1m"])
    start: datetime | None = Field(
        description="The start of the range: the first period that begins at the requested start or later. If no start "
        "is given, it is the first known instant of the series. Null if the range contains no closed period."
    )
    end: datetime | None = Field(
        description="The end of the range: the close of the last period that begins before the requested end and that "
        "has ended. Null like `start`."
    )
    verified_from: datetime | None = Field(description="The first verified instant of the whole series.")
    verified_until: datetime | None = Field(description="The end of the last verified span of the whole series.")
    closed_periods: int = Field(description=f"The number of periods in the range. All of them have ended. {_PERIOD}")
    verified_periods: int = Field(
        description="The periods that lie completely in verified spans. Periods without trades, which have no candle, "
        "count like the others."
    )
    answered_periods: int = Field(
        description="The periods that lie completely in verified spans and in spans of a final class: `no_trade`, "
        "`outage`, `before_listing`, `delisted`, `lost_at_source` and `beyond_horizon`."
    )
    whole_periods: int = Field(
        description="The periods that lie completely in verified spans and in spans of `no_trade` and `outage`."
    )
    answered: float | None = Field(
        ge=0,
        le=1,
        description="`answered_periods` / `closed_periods`, not rounded. 1: nothing is unknown. Provisional "
        "absences count until another answer replaces them. Null if the range contains no closed period.",
        examples=[0.9993055555555556],
    )
    whole: float | None = Field(
        ge=0,
        le=1,
        description="`whole_periods` / `closed_periods`, not rounded. 1: every candle that exists in the range is "
        "stored. Null if the range contains no closed period.",
        examples=[0.9861111111111112],
    )
    before_first_verified: CoverageSpan | None = Field(
        description="The part of the range before the first verified instant of the series."
    )
    verified: list[CoverageSpan] = Field(description="The spans that answers of the exchange vouch for, ascending.")
    periods_from_trades: int = Field(
        default=0, description="The verified periods that are built from trades, and not the exchange's own candles."
    )
    from_trades: list[CoverageSpan] = Field(
        default=[], description="The parts of the verified spans that are built from trades, ascending."
    )
    open_holes: list[ClassifiedSpan] = Field(
        description="The spans between the first and the last verified instant that are not verified, ascending."
    )
    absences: list[ClassifiedSpan] = Field(
        description="Spans with a known class before the first or after the last verified instant, ascending."
    )
    not_yet_verified: CoverageSpan | None = Field(
        description="The part of the range after the last verified instant. Usually the next run verifies it."
    )
    rejected_candles: RejectedCount
    next_loss: NextLoss | None = Field(
        default=None,
        description="The next candles that can be lost, in the whole series and not only in the range. They are lost "
        "if no run reads them before. Null: the exchange has no known limit, or nothing is missing.",
    )
    truncated: bool = Field(
        description='More spans follow on the next page, whose address is in the Link header (rel="next"). The numbers '
        "are always those of the whole range."
    )
