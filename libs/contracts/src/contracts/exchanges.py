"""The health of exchanges. Topic `exchange-health`, compacted, keyed by lane."""

from typing import Literal

from pydantic import Field
from typing_extensions import override

from contracts.bounds import Message, Name
from contracts.event import Event, Instant
from contracts.vocabulary import ErrorClass, ExchangeId, ExchangeState, Lane


class ExchangeHealthChanged(Event):
    """A collector reports that the state of an exchange changed, or the expected end of this state."""

    type: Literal["ExchangeHealthChanged"] = "ExchangeHealthChanged"
    exchange: ExchangeId
    lane: Lane | None = Field(
        default=None,
        description="The lane whose request showed this state: the exchange id, plus #n if the exchange has several "
        "lanes. Null in events of older collectors: the exchange id.",
    )
    state: ExchangeState = Field(
        description="In every state but ok, the collector sends no requests except one probe at a time."
    )
    until: Instant | None = Field(
        description="The collector sends no request before this time. Null if the state is ok."
    )
    error_class: ErrorClass | None = Field(description="The error class of the last failure. Null if the state is ok.")
    reason: Message | None = Field(description="The last error message of the exchange. Null if the state is ok.")
    collector: Name = Field(
        description="The collector that reports this, as host:pid. Several collectors of an exchange report separately."
    )

    @override
    def key(self) -> str:
        return self.lane or self.exchange
