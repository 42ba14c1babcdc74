"""The body of an error response."""

from pydantic import BaseModel, ConfigDict, Field


class FieldProblem(BaseModel):
    """One fault of one input."""

    pointer: str = Field(examples=["#/timeframes/0"])
    detail: str
    where: str = Field(examples=["body"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="Stable, for programs. `docs/problems` has a page for each type.",
        examples=["urn:candlekeep:problem:invalid-input"],
    )
    title: str
    status: int
    detail: str = Field(description="The fault, and what to change.")
    instance: str = Field(description="The path of the request.")
    request_id: str | None = Field(
        default=None,
        description="The id of this request in the log and the audit log; also in the header X-Request-ID.",
    )
    errors: list[FieldProblem] = Field(default=[], description="One entry per faulty input.")
