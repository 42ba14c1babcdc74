"""Adapts generated requests to rules of the API that OpenAPI cannot express.

Only requests that the API should accept are changed. Requests that are invalid on purpose are sent as they are.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import schemathesis

_used_keys: set[str] = set()
_seen: set[tuple[Any, ...]] = set()


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Of the cases of the coverage phase, one of each kind: 2,100 of 4,400. `make test-deep` sends all.

    The others have a further wrong type for the same field, or a body of the same kind in YAML instead of JSON.
    """
    if os.environ.get("TEST_DEPTH") == "deep" or case.meta is None or case.meta.phase.name.value != "coverage":
        return True
    is_positive, data = case.meta.generation.mode.is_positive, case.meta.phase.data
    kind: tuple[Any, ...] = (case.operation.label, case.method, is_positive, data.scenario, data.parameter)
    if "yaml" not in str(data.parameter):
        is_wrong_type = data.scenario.value == "incorrect_type"
        kind += (data.parameter_location, data.location, None if is_wrong_type else data.description)
    is_new = kind not in _seen
    _seen.add(kind)
    return is_new


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    query, headers = case.query or {}, case.headers or {}
    key = str(headers.get("Idempotency-Key") or "").strip('"')
    is_used = key in _used_keys
    _used_keys.add(key)
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    # Only the API can create valid cursors and event ids.
    query.pop("cursor", None)
    headers.pop("last-event-id", None)
    # schemathesis 4.32 also generates an empty string, which does not match the pattern.
    for name in ("If-Match", "If-None-Match"):
        if headers.get(name) == "":
            headers.pop(name)
    # An item that was not created has no id. schemathesis follows it nevertheless, to the path /configs/None.
    if (ids := case.path_parameters or {}).get("config_id") in {None, "None"} and "config_id" in ids:
        ids["config_id"] = 1
    # The start of a period must be before its end.
    for begin, end in (("start", "end"), ("start_date", "end_date")):
        if begin in query:
            query.pop(end, None)
    # Incidents before now are listed, unless the query has an end.
    if case.path.endswith("/incidents") and "start" in query:
        query["start"] = f"{datetime.now(UTC) - timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}"
    # Days are shown for at most 366 days, whose start must be given.
    if "per_day" in query:
        query["start"] = f"{datetime.now(UTC) - timedelta(days=30):%Y-%m-%d}"
        query.pop("end", None)
    _use_earlier_starts_of_backfills(case.body)
    # An idempotency key may be used for one request only; quotes do not make it another key.
    if key and is_used:
        headers["Idempotency-Key"] = uuid4().hex
    _use_offered_timeframes(case.body)
    _use_earlier_start_dates(case.body)


def _use_earlier_starts_of_backfills(body: Any) -> None:
    if isinstance(body, dict) and {"mode", "series", "start", "end"} & body.keys():
        body.pop("end", None)
        if body.get("start") is not None:
            body["start"] = "2024-02-29T00:00:00Z"


def _use_earlier_start_dates(body: Any) -> None:
    """A start date must be a day that exists and that is not in the future."""
    configs = body.get("configs") if isinstance(body, dict) else None
    for config in [body, *(configs if isinstance(configs, list) else [])]:
        if isinstance(config, dict) and str(config.get("start_date")).startswith("20"):
            config["start_date"] = "2024-02-29"


def _use_offered_timeframes(body: Any) -> None:
    """An exchange offers only some timeframes, and no two entries of a manifest may collect the same one."""
    if not isinstance(body, dict):
        return
    configs = body["configs"] if isinstance(body.get("configs"), list) else [body]
    for number, config in enumerate(configs):
        if "timeframes" in config:
            config.update(exchange="binance", timeframes=["1h"])
        elif "exchange" in config and "select" not in config:
            config["exchange"] = "binance"
        if config is not body and "symbol" in config:
            config["symbol"] = f"S{number}/USDT"
