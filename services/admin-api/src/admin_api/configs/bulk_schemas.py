"""The request and response bodies of bulk operations on configs."""

from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from admin_api.configs.schemas import NewConfig
from admin_api.http.input_types import INTEGRAL_NUMBER, FilterText, RowId, StrictInput
from admin_api.http.problems import Problem
from contracts.vocabulary import each_once

MAX_ITEMS: Final = 1000

Action = Literal["create", "enable", "disable", "trigger", "delete"]
Outcome = Literal["done", "would_be_done", "unchanged", "failed"]


_Ids = Annotated[
    list[Annotated[RowId, INTEGRAL_NUMBER]],
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
"""The rule of the validator `_ids_or_filters`, as JSON Schema."""


class Selector(StrictInput):
    """Selects configs by a list of ids, or all configs that match every given filter.

    An empty selector is an error. To select all configs, use `"symbol": "*"`.
    """

    model_config = ConfigDict(json_schema_extra=_BY_IDS_OR_BY_FILTERS)

    ids: _Ids | None = None
    exchange: FilterText | None = Field(default=None, examples=["binance"])
    symbol: FilterText | None = Field(
        default=None, description="A symbol; `*` matches any characters.", examples=["*/USDT"]
    )
    enabled: bool | None = None

    @model_validator(mode="after")
    def _ids_or_filters(self) -> Self:
        filters = [name for name in _FILTERS if getattr(self, name) is not None]
        if self.ids is None and not filters:
            raise ValueError('select by ids, exchange, symbol or enabled; {"symbol": "*"} selects all')
        if self.ids is not None and filters:
            raise ValueError(f"select by ids or by filters, not both: remove ids, or {', '.join(filters)}")
        return self


class _BulkOptions(StrictInput):
    dry_run: bool = Field(default=False, description="Only show the effect; change nothing.")
    atomic: bool = Field(
        default=False,
        description="All or nothing: if one item fails, no item is done, and the response is 409 with the failed "
        "items. Otherwise each item succeeds or fails separately.",
    )


class BulkSelection(_BulkOptions):
    """A bulk operation on existing configs."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"select": {"exchange": "binance", "symbol": "*/USDT"}, "dry_run": True}]}
    )

    select: Selector


class BulkCreate(_BulkOptions):
    """Configs to create, in this order. If one of them violates the schema, the whole request is refused."""

    configs: list[NewConfig] = Field(min_length=1, max_length=MAX_ITEMS)


class BulkItem(BaseModel):
    """The result of one item."""

    index: int = Field(
        description="The index in the list of the request. With filters, the items are in the order of ids."
    )
    outcome: Outcome
    config_id: int | None = Field(description="Null: the config was not created.")
    version: int | None = Field(description="The config's version after the operation.")
    run_id: UUID | None = Field(default=None, description="The id of the requested run.")
    problem: Problem | None = Field(
        default=None, description="The reason of a failure. Its pointers are relative to this item."
    )
    warnings: list[str] = Field(default=[], description="Warnings about the config, of `create` only.")


class BulkSummary(BaseModel):
    """The number of items per outcome."""

    total: int
    done: int
    would_be_done: int
    unchanged: int
    failed: int


class BulkResult(BaseModel):
    """The result of all items. A response with status 200 can contain failures: check `summary.failed`."""

    action: Action
    dry_run: bool
    atomic: bool
    summary: BulkSummary
    items: list[BulkItem]
