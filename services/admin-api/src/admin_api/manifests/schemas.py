"""The JSON of applying a file of configs."""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from admin_api.http.input_types import Input

Value = str | int | bool | list[str] | None


class ApplyOptions(Input):
    """The query of apply. Unknown parameters are refused."""

    dry_run: bool = Field(default=False, description="Only answer the difference.")
    remove: bool = Field(default=False, description="Also remove the configs that are not in the file.")
    confirm_removals: int | None = Field(
        default=None,
        ge=0,
        le=10_000_000,
        description="How many configs you expect to be removed. Needed where that is more than half of all; where "
        "given, it must be right.",
    )


FieldChange = TypedDict("FieldChange", {"field": str, "from": Value, "to": Value})


class ConfigDifference(BaseModel):
    """One config that is, or would be, added, changed or removed; or that is not in the file and stays."""

    action: Literal["add", "change", "remove", "keep"]
    config_id: int | None = Field(description="Null: it is not there yet.")
    exchange: str
    symbol: str
    timeframes: list[str]
    fields: list[FieldChange] = Field(description="What changes; of an added config all that it says.")


class ApplySummary(BaseModel):
    """How many of each."""

    added: int
    changed: int
    removed: int
    unchanged: int
    not_in_file: int = Field(description="Of these, `remove=true` would remove every one.")


class ApplyResult(BaseModel):
    """The difference between the file and the database, and whether it was applied."""

    dry_run: bool
    summary: ApplySummary
    confirmation_needed: int | None = Field(
        description="What `confirm_removals` has to say when this is applied with `remove=true`; null: nothing."
    )
    changes: list[ConfigDifference]


ApplyQuery = Annotated[ApplyOptions, Query()]
