"""How exchanges fare. Topic `exchange-health`, compacted, keyed by exchange id."""

from typing import Literal

from pydantic import Field
from typing_extensions import override

from contracts.event import Event, Instant
from contracts.vocabulary import ErrorClass, ExchangeId, ExchangeState


class ExchangeHealthChanged(Event):
    """A collector sees an exchange in another state than before, or knows better how long it will last."""

    type: Literal["ExchangeHealthChanged"] = "ExchangeHealthChanged"
    exchange: ExchangeId
    state: ExchangeState = Field(description="Everything but ok: no requests, but for one probe at a time.")
    until: Instant | None = Field(description="No request before this instant; null when the exchange is ok.")
    error_class: ErrorClass | None = Field(description="The class of its last failure; null when the exchange is ok.")
    reason: str | None = Field(description="What it said last; null when the exchange is ok.")
    collector: str = Field(description="Who saw it, as host:pid. Each collector of an exchange sees it for itself.")

    @override
    def key(self) -> str:
        return self.exchange
