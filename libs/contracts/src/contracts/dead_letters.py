"""Messages that a consumer could not read or handle. Topic `dead-letters`, keyed by source topic."""

from typing import Literal

from pydantic import Field
from typing_extensions import override

from contracts.event import Event


class DeadLetter(Event):
    """A consumer skipped a message that it could not read or handle. The event contains all that a replay needs."""

    type: Literal["DeadLetter"] = "DeadLetter"
    source_topic: str = Field(description="The topic of the message, as the broker names it.")
    source_partition: int = Field(ge=0, description="The partition of the message.")
    source_offset: int = Field(ge=0, description="The offset of the message.")
    source_key: str | None = Field(description="The key's bytes in Base64.")
    source_value: str | None = Field(description="The value's bytes in Base64.")
    source_headers: dict[str, str] = Field(description="Header values as text. Bytes that are not UTF-8 are replaced.")
    error: str = Field(description="The reason, for a person.")
    attempts: int = Field(ge=1, description="How often the consumer tried to handle the message.")
    consumer: str = Field(description="The service that could not handle the message.")
    complete: bool = Field(
        default=True,
        description="False if key and value were too large for a dead letter and are left out. They can then be read "
        "only at their source.",
    )

    @override
    def key(self) -> str:
        return self.source_topic
