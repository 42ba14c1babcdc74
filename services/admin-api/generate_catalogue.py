"""Writes src/admin_api/catalogue.json from the installed ccxt, without touching the network.

A script beside the service and not a part of it: the API must not import ccxt (seconds of start, 100 MB), and the
collector, which does, may be of the same release only. Run it after every update of ccxt: `make generate`, or
`python services/admin-api/generate_catalogue.py`.
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
    """Every exchange that really offers fetchOHLCV (not one that ccxt emulates from trades), by ccxt's id."""
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
    """Not all are: one exchange of ccxt lists '15' and '30', of which its own parse_timeframe makes nothing."""
    try:
        TypeAdapter(Timeframe).validate_python(text)
    except ValidationError:
        return False
    return True


def _page_limit(exchange: Any) -> int | None:
    """How many spot candles one answer holds at most; None where ccxt does not say."""
    features = (exchange.features or {}).get("spot") or {}
    limit = (features.get("fetchOHLCV") or {}).get("limit")
    return int(limit) if limit else None


def catalogue_text() -> str:
    """One exchange per line: small, and a diff of it reads well."""
    made = catalogue()
    lines = [f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in made["exchanges"].items()]
    return f'{{\n  "ccxt": {json.dumps(made["ccxt"])},\n  "exchanges": {{\n' + ",\n".join(lines) + "\n  }\n}\n"


if __name__ == "__main__":
    CATALOGUE.write_text(catalogue_text(), encoding="utf-8")
    sys.stdout.write(f"wrote {CATALOGUE}\n")
