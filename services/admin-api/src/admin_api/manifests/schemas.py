"""Query and response of applying a manifest."""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from admin_api.http.input_types import Input

Value = str | int | bool | list[str] | None


class ApplyOptions(Input):
    """The query parameters of `apply`. Unknown parameters are refused."""

    dry_run: bool = Field(default=False, description="Only return the difference; change nothing.")
    remove: bool = Field(default=False, description="Also remove the configs that are not in the file.")
    confirm_removals: int | None = Field(
        default=None,
        ge=0,
        le=10_000_000,
        description="The number of configs that you expect to be removed. Required if more than half of all configs "
        "would be removed. If it is given, it must be correct.",
    )


FieldChange = TypedDict("FieldChange", {"field": str, "from": Value, "to": Value})


class ConfigDifference(BaseModel):
    """One config: added, changed, removed, or kept although it is not in the file. A dry run changes nothing."""

    action: Literal["add", "change", "remove", "keep"]
    config_id: int | None = Field(description="Null if the config does not exist yet.")
    exchange: str
    symbol: str
    timeframes: list[str]
    fields: list[FieldChange] = Field(description="The fields that change; for an added config, all its fields.")
    warnings: list[str] = Field(default=[], description="Warnings about a config that is added or changed.")


class ApplySummary(BaseModel):
    """The number of configs of each kind."""

    added: int
    changed: int
    removed: int
    unchanged: int
    not_in_file: int = Field(description="With `remove=true`, all of these are removed.")


class ApplyResult(BaseModel):
    """The difference between the file and the database, and whether it was applied."""

    dry_run: bool
    summary: ApplySummary
    confirmation_needed: int | None = Field(
        description="The value of `confirm_removals` that `remove=true` requires for this file; null if none."
    )
    changes: list[ConfigDifference]


ApplyQuery = Annotated[ApplyOptions, Query()]
