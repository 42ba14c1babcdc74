"""The body of an error response: RFC 9457 problem details."""

from pydantic import BaseModel, ConfigDict, Field


class FieldProblem(BaseModel):
    """One thing wrong with one input."""

    pointer: str = Field(examples=["#/timeframes/0"])
    detail: str
    where: str = Field(examples=["body"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="Stable, for programs; `docs/problems` has a page for each.",
        examples=["urn:candlekeep:problem:invalid-input"],
    )
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to change.")
    instance: str = Field(description="The path that was asked for.")
    request_id: str | None = Field(
        default=None, description="Names this request in the service's log and audit log; also the header X-Request-ID."
    )
    errors: list[FieldProblem] = Field(default=[], description="Each faulty input, where inputs are at fault.")
