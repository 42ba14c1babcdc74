"""The rows of the result table: each figure with its baseline from the same run."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Row:
    """One comparison. `ratio` is our figure divided by the baseline. The note explains the figures."""

    name: str
    ours: float | None
    baseline: float | None
    unit: str
    ratio: float | None
    note: str
    ratio_at_least: float | None = None
    """The target for the ratio, if there is one."""
    ours_below: float | None = None
    """The target for our own figure, if there is one."""

    @classmethod
    def compare(
        cls,
        name: str,
        ours: float | None,
        baseline: float | None,
        unit: str,
        note: str = "",
        *,
        ratio_at_least: float | None = None,
        ours_below: float | None = None,
    ) -> Self:
        ratio = ours / baseline if ours is not None and baseline else None
        return cls(name, ours, baseline, unit, ratio, note, ratio_at_least, ours_below)

    @property
    def target(self) -> str:
        """The target in words; empty if there is none."""
        if self.ratio_at_least is not None:
            return f"ratio >= {_number(self.ratio_at_least)}"
        return f"< {_number(self.ours_below)} {self.unit}" if self.ours_below is not None else ""

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None if there is none. A figure that could not be measured missed its target."""
        if self.ratio_at_least is not None:
            return self.ratio is not None and self.ratio >= self.ratio_at_least
        if self.ours_below is not None:
            return self.ours is not None and self.ours < self.ours_below
        return None


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a text table: names are left-aligned, numbers right-aligned."""
    heads = ("what", "ours", "baseline", "unit", "ratio", "target", "", "note")
    cells = [_cells(row) for row in rows]
    widths = [max(len(line[column]) for line in (heads, *cells)) for column in range(len(heads))]
    lines = [_line(heads, widths), "  ".join("-" * width for width in widths), *(_line(cell, widths) for cell in cells)]
    return "\n".join(line.rstrip() for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    verdict = {None: "", True: "met", False: "MISSED"}[row.met]
    numbers = _number(row.ours), _number(row.baseline), _number(row.ratio)
    return (row.name, *numbers[:2], row.unit, numbers[2], row.target, verdict, row.note)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    numbers = {1, 2, 4}
    return "  ".join(
        cell.rjust(width) if column in numbers else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
