"""Rules of the API that a description cannot say. What breaks one on purpose is sent all the same: only requests that
are meant to be accepted are changed to follow them.
"""

from typing import Any
from uuid import uuid4

import schemathesis

_used_keys: set[str] = set()


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    query, headers = case.query or {}, case.headers or {}
    key = str(headers.get("Idempotency-Key") or "").strip('"')
    is_used = key in _used_keys
    _used_keys.add(key)
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    # Where a page begins and what was heard last are words that only the API can form.
    query.pop("cursor", None)
    headers.pop("last-event-id", None)
    # Of their pattern schemathesis 4.32 also makes an empty text, which does not match it.
    for name in ("If-Match", "If-None-Match"):
        if headers.get(name) == "":
            headers.pop(name)
    # A period begins before it ends.
    for begin, end in (("start", "end"), ("start_date", "end_date")):
        if begin in query:
            query.pop(end, None)
    # A key stands for one request, with quotes or without.
    if key and is_used:
        headers["Idempotency-Key"] = uuid4().hex
    _only_what_is_offered(case.body)


def _only_what_is_offered(body: Any) -> None:
    """An exchange offers some timeframes and not others, and a file has each of a series once."""
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
