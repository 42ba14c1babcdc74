"""Writes the generated table of docs/exchanges.md: requests, limits and refusals of every exchange.

Other generated sections of the page have markers with other names. This module does not change them.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from contracts.exchange_catalogue import (
    CandleRequest,
    CannotCollect,
    CatalogueEntry,
    MarketKind,
    RequestKind,
    RowOrder,
    load_catalogue,
)

PAGE: Final = Path("docs/exchanges.md")
SECTION: Final = "requests"
_SHORT: Final = {
    RequestKind.START_ONLY: "start",
    RequestKind.WINDOW: "window",
    RequestKind.START_TO_NOW: "start to now",
    RequestKind.NO_SINCE: "**no since**",
    RequestKind.DAY_FILE: "day file",
    RequestKind.END_ONLY: "end",
    RequestKind.UNKNOWN: "unknown",
}


def table() -> str:
    """One row per exchange."""
    rows = [_row(exchange, entry) for exchange, entry in sorted(load_catalogue().exchanges.items())]
    heading = ("exchange", "spot", "linear swaps", "inverse swaps", "keeps", "silence", "refused at creation")
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(exchange: str, entry: CatalogueEntry) -> list[str]:
    name = f"`{exchange}`" + (" ✓" if entry.known else "")
    silence = {True: "filled", False: "left out", None: ""}[entry.fills_silence]
    keeps = "" if entry.history_candles is None else str(entry.history_candles)
    requests = [_requests(entry, kind) for kind in MarketKind]
    return [name, *requests, keeps, silence, _refusals(entry)]


def _requests(entry: CatalogueEntry, kind: MarketKind) -> str:
    """The request of the shortest timeframe, then those of other timeframes that differ."""
    by_timeframe = {timeframe: entry.request(kind, timeframe) for timeframe in entry.timeframes}
    requests = {each: request for each, request in by_timeframe.items() if isinstance(request, CandleRequest)}
    groups: dict[tuple[RequestKind, int], list[str]] = {}
    for timeframe, request in requests.items():
        groups.setdefault((request.kind, request.page), []).append(timeframe)
    if not groups:
        return ""
    (first_kind, first_page), *others = groups
    newest = ", newest rows" if entry.order is RowOrder.NEWEST and first_kind is RequestKind.START_ONLY else ""
    texts = [f"{_SHORT[first_kind]} {first_page}{newest}"]
    for other_kind, page in others:
        text = str(page) if other_kind is first_kind else f"{_SHORT[other_kind]} {page}"
        texts.append(f"{' '.join(groups[other_kind, page])}: {text}")
    return "; ".join(texts)


def _refusals(entry: CatalogueEntry) -> str:
    refused: dict[str, dict[str, list[MarketKind]]] = {}
    for kind, by_timeframe in entry.requests.items():
        found = {each: refusal for each, refusal in by_timeframe.items() if isinstance(refusal, CannotCollect)}
        for reason, timeframes in _by_reason(found).items():
            scope = "all" if len(timeframes) == len(by_timeframe) else " ".join(timeframes)
            refused.setdefault(reason, {}).setdefault(scope, []).append(kind)
    return "; ".join(
        f"{', '.join(kinds)} {scope}: {reason}"
        for reason, by_scope in refused.items()
        for scope, kinds in by_scope.items()
    )


def _by_reason(refused: Mapping[str, CannotCollect]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for timeframe, refusal in refused.items():
        reasons.setdefault("needs credentials" if refusal.needs_credentials else refusal.reason, []).append(timeframe)
    return reasons


def with_section(page: str, name: str, lines: Iterable[str]) -> str:
    """The page with new content between the markers of a section. Raises `ValueError` if it has no such markers."""
    begin, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
    content = "\n".join([begin, "", *lines, "", end])
    changed, count = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: content, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"the page must have the markers {begin!r} and {end!r} once")
    return changed


def page_text(page: str) -> str:
    return with_section(page, SECTION, [table()])


if __name__ == "__main__":
    PAGE.write_text(page_text(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
