"""The backfills that people order. Topic `backfill-events`, keyed by backfill id."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import override

from contracts.bounds import MAX_BIGINT, Count, RowId, Version
from contracts.event import Event

Candles = Annotated[int, Field(ge=0, le=MAX_BIGINT)]


class BackfillChange(StrEnum):
    """A person's change of a backfill."""

    CREATED = "created"
    PAUSED = "paused"
    RESUMED = "resumed"
    CANCELLED = "cancelled"


class BackfillChanged(Event):
    """A person created, paused, resumed or cancelled a backfill."""

    type: Literal["BackfillChanged"] = "BackfillChanged"
    backfill_id: RowId = Field(description="The backfill's id in the API.")
    change: BackfillChange = Field(description="The kind of change.")
    version: Version = Field(description="The version of the backfill after the change.")

    @override
    def key(self) -> str:
        return str(self.backfill_id)


class BackfillProgressed(Event):
    """A backfiller has compared the range of a backfill with the ledger. It does so at most once a second."""

    type: Literal["BackfillProgressed"] = "BackfillProgressed"
    backfill_id: RowId = Field(description="The backfill's id in the API.")
    candles: Candles = Field(description="The candles of the range, over all series.")
    missing_candles: Candles = Field(description="The candles of the range that have no answer yet.")
    is_whole: bool = Field(
        description="Each candle of the range is verified, or is absent for a final reason. No progress follows."
    )
    waiting: Count = Field(description="The chunks that wait for their first or next request.")
    requested: Count = Field(description="The chunks whose result is expected.")
    failed: Count = Field(description="The chunks that the exchange refuses.")
    ended: Count = Field(description="The chunks that are verified, classified or cancelled.")

    @override
    def key(self) -> str:
        return str(self.backfill_id)
