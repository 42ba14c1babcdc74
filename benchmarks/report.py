"""What benchmarks report, and the one table that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

_HEADINGS = ("benchmark", "ours", "baseline", "unit", "ratio", "target", "note")
_LEFT = {"benchmark", "unit", "target", "note"}


@dataclass(frozen=True)
class Row:
    """One figure of ours beside the same figure of its baseline, measured in the same run."""

    name: str
    ours: float
    baseline: float | None
    unit: str
    ratio: float | None
    """Ours divided by the baseline; None where there is nothing to divide by."""
    note: str = ""
    target: str = ""
    """What was promised, in words. Empty: nothing was."""
    met: bool | None = None
    """Whether the target was met; None without a target."""


def render(rows: Sequence[Row]) -> str:
    """One aligned table: names and words to the left, numbers to the right."""
    table = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADINGS))]
    lines = [
        "  ".join(
            cell.ljust(width) if heading in _LEFT else cell.rjust(width)
            for heading, cell, width in zip(_HEADINGS, line, widths, strict=True)
        ).rstrip()
        for line in table
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    verdict = "" if row.met is None else "met: " if row.met else "MISSED: "
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return (row.name, _number(row.ours), _number(row.baseline), row.unit, ratio, verdict + row.target, row.note)


def _number(value: float | None) -> str:
    """Three digits that matter, thousands apart."""
    if value is None:
        return ""
    decimals = next((digits for limit, digits in ((100, 0), (10, 1), (1, 2)) if abs(value) >= limit), 3)
    return f"{value:,.{decimals}f}"
