"""What no one could read or store. Topic `dead-letters`, keyed by source topic."""

from typing import Literal

from pydantic import Field
from typing_extensions import override

from contracts.event import Event


class DeadLetter(Event):
    """A message was put aside so that the ones behind it could pass. Holds all that is needed to replay it."""

    type: Literal["DeadLetter"] = "DeadLetter"
    source_topic: str = Field(description="Where the message was, as the broker names the topic.")
    source_partition: int = Field(ge=0, description="Its partition.")
    source_offset: int = Field(ge=0, description="Its offset.")
    source_key: str | None = Field(description="Base64 of the key's bytes.")
    source_value: str | None = Field(description="Base64 of the value's bytes.")
    source_headers: dict[str, str] = Field(description="Header values as text, undecodable bytes replaced.")
    error: str = Field(description="Why, for a person.")
    attempts: int = Field(ge=1, description="How often it was tried.")
    consumer: str = Field(description="Which service gave up on it.")
    complete: bool = Field(
        default=True,
        description="False when key and value were too large for a dead letter and are left out: they can only be "
        "read at their source.",
    )

    @override
    def key(self) -> str:
        return self.source_topic
