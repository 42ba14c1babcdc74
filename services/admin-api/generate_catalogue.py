"""Writes src/admin_api/catalogue.json from the installed ccxt, without network access.

This script is not part of the service, because the API must not import ccxt (seconds of start-up time, 100 MB). The
collector imports ccxt; the file is valid for a collector of the same release.

Run the script after every update of ccxt: `make generate`, or `python services/admin-api/generate_catalogue.py`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import ccxt
import ccxt.async_support
from pydantic import TypeAdapter, ValidationError

from contracts.vocabulary import Timeframe

CATALOGUE = Path(__file__).parent / "src" / "admin_api" / "catalogue.json"


def catalogue() -> dict[str, Any]:
    """Every exchange with a native `fetchOHLCV` (not emulated by ccxt from trades), by its id in ccxt."""
    found = {}
    for exchange_id in sorted(ccxt.async_support.exchanges):
        exchange = getattr(ccxt.async_support, exchange_id)()
        timeframes = [each for each in exchange.timeframes or () if _is_timeframe(each)]
        if exchange.has.get("fetchOHLCV") is True and timeframes:
            found[exchange_id] = {
                "name": exchange.name,
                "timeframes": timeframes,
                "page_limit": _page_limit(exchange),
            }
    return {"ccxt": ccxt.__version__, "exchanges": found}


def _is_timeframe(text: str) -> bool:
    """Some entries are no timeframes: one exchange of ccxt lists '15' and '30', which ccxt itself cannot parse."""
    try:
        TypeAdapter(Timeframe).validate_python(text)
    except ValidationError:
        return False
    return True


def _page_limit(exchange: Any) -> int | None:
    """The maximum number of spot candles in one response; None if ccxt does not know it."""
    features = (exchange.features or {}).get("spot") or {}
    limit = (features.get("fetchOHLCV") or {}).get("limit")
    return int(limit) if limit else None


def catalogue_text() -> str:
    """One exchange per line, so that the file is small and its diffs are easy to read."""
    content = catalogue()
    lines = [f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in content["exchanges"].items()]
    return f'{{\n  "ccxt": {json.dumps(content["ccxt"])},\n  "exchanges": {{\n' + ",\n".join(lines) + "\n  }\n}\n"


if __name__ == "__main__":
    CATALOGUE.write_text(catalogue_text(), encoding="utf-8")
    sys.stdout.write(f"wrote {CATALOGUE}\n")
