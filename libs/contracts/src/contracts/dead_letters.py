"""Messages that a consumer could not read or handle. Topic `dead-letters`, keyed by source topic."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from typing_extensions import override

from contracts.bounds import MAX_BIGINT, MAX_INT, Count, Message, Name
from contracts.event import Event

_Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/=]*$", max_length=2 * 1024 * 1024)]


class DeadLetter(Event):
    """A consumer skipped a message that it could not read or handle. The event contains all that a replay needs."""

    type: Literal["DeadLetter"] = "DeadLetter"
    source_topic: Name = Field(description="The topic of the message, as the broker names it.")
    source_partition: Count = Field(description="The partition of the message.")
    source_offset: int = Field(ge=0, le=MAX_BIGINT, description="The offset of the message.")
    source_key: _Base64 | None = Field(description="The key's bytes in Base64.")
    source_value: _Base64 | None = Field(description="The value's bytes in Base64.")
    source_headers: dict[Message, Message] = Field(
        description="Header values as text. Bytes that are not UTF-8 are replaced."
    )
    error: Message = Field(description="The reason, for a person.")
    attempts: int = Field(ge=1, le=MAX_INT, description="How often the consumer tried to handle the message.")
    consumer: Name = Field(description="The service that could not handle the message.")
    complete: bool = Field(
        default=True,
        description="False if key and value were too large for a dead letter and are left out. They can then be read "
        "only at their source.",
    )

    @override
    def key(self) -> str:
        return self.source_topic
