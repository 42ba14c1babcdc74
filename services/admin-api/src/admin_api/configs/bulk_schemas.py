"""The JSON of the operations on many configs at once."""

from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from admin_api.configs.schemas import NewConfig
from admin_api.http.input_types import WHOLE, FilterText, RowId, StrictInput
from admin_api.http.problem_schemas import Problem
from contracts.vocabulary import each_once

MAX_ITEMS: Final = 1000

Action = Literal["create", "enable", "disable", "trigger", "delete"]
Outcome = Literal["done", "would_be_done", "unchanged", "failed"]


_Ids = Annotated[
    list[Annotated[RowId, WHOLE]],
    Field(min_length=1, max_length=MAX_ITEMS, json_schema_extra={"uniqueItems": True}),
    AfterValidator(each_once),
]
_FILTERS: Final = ("exchange", "symbol", "enabled")
_NULL: Final[JsonDict] = {"type": "null"}
_BY_IDS_OR_BY_FILTERS: Final[JsonDict] = {
    "oneOf": [
        {"required": ["ids"], "properties": {"ids": {"type": "array"}, **dict.fromkeys(_FILTERS, _NULL)}},
        {
            "properties": {"ids": _NULL},
            "anyOf": [{"required": [name], "properties": {name: {"not": _NULL}}} for name in _FILTERS],
        },
    ]
}
"""What the validator below enforces, said in JSON Schema."""


class Selector(StrictInput):
    """Which configs: a list of ids, or all that match every filter given. Nothing given selects nothing: to mean all,
    say `"symbol": "*"`.
    """

    model_config = ConfigDict(json_schema_extra=_BY_IDS_OR_BY_FILTERS)

    ids: _Ids | None = None
    exchange: FilterText | None = Field(default=None, examples=["binance"])
    symbol: FilterText | None = Field(
        default=None, description="A symbol; `*` stands for any characters.", examples=["*/USDT"]
    )
    enabled: bool | None = None

    @model_validator(mode="after")
    def _ids_or_filters(self) -> Self:
        filters = [name for name in _FILTERS if getattr(self, name) is not None]
        if self.ids is None and not filters:
            raise ValueError('select by ids, exchange, symbol or enabled; {"symbol": "*"} selects all')
        if self.ids is not None and filters:
            raise ValueError(f"select by ids or by filters: leave out ids, or {', '.join(filters)}")
        return self


class _Manner(StrictInput):
    dry_run: bool = Field(default=False, description="Only say what would be done.")
    atomic: bool = Field(
        default=False,
        description="All or nothing: when one fails, none is done, and the answer is 409 with what failed. Otherwise "
        "each is done or fails by itself.",
    )


class BulkSelection(_Manner):
    """Do it to these."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"select": {"exchange": "binance", "symbol": "*/USDT"}, "dry_run": True}]}
    )

    select: Selector


class BulkCreate(_Manner):
    """Create these, in this order. One that does not follow the schema refuses the whole request."""

    configs: list[NewConfig] = Field(min_length=1, max_length=MAX_ITEMS)


class BulkItem(BaseModel):
    """What became of one."""

    index: int = Field(description="Its place in the list that was sent; for filters, in the order of ids.")
    outcome: Outcome
    config_id: int | None = Field(description="Null: not created.")
    version: int | None = Field(description="Of the config afterwards.")
    run_id: UUID | None = Field(default=None, description="Of the run that was asked for.")
    problem: Problem | None = Field(default=None, description="Why it failed; its pointers begin at this item.")


class BulkSummary(BaseModel):
    """How many had which outcome."""

    total: int
    done: int
    would_be_done: int
    unchanged: int
    failed: int


class BulkResult(BaseModel):
    """What became of all. Look at `summary.failed`: an answer of 200 may tell of failures."""

    action: Action
    dry_run: bool
    atomic: bool
    summary: BulkSummary
    items: list[BulkItem]
