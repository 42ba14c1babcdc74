"""Reads queries of Prometheus as far as the tests need it: names of series, and labels."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

_KEYWORDS = {"offset", "by", "and", "or", "unless"}


def used_names(query: str) -> set[str]:
    """The names of series: no functions, keywords, labels or texts."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)', " ", query)
    words = set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare))
    return words - _KEYWORDS - {"sum", "max", "min"}  # in front of `by`


def used_labels(query: str) -> set[str]:
    return {*re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query), *grouping_labels(query)}


def grouping_labels(query: str) -> set[str]:
    return {name for names in re.findall(r"\bby\s*\(([^)]*)\)", query) for name in re.split(r",\s*", names)}


def family(name: str) -> str:
    """The name of the metric to which a series belongs."""
    return re.sub(r"_(total|bucket|sum|count)$", "", name)


def dashboard_queries(file: Path) -> Iterator[tuple[str, str]]:
    """The title of each panel with each of its queries."""
    for panel in json.loads(file.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
