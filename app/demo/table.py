"""The table that the demonstration ends with."""

from __future__ import annotations

from dataclasses import dataclass

COLUMNS = ("job", "input", "size", "result", "size", "outcome", "time")
RIGHT_ALIGNED = {2, 4, 6}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    job: str
    source: str
    source_bytes: int | None
    result: str
    result_bytes: int | None
    outcome: str
    """Ratio, dimensions, HTTP status, or the code of a failure."""
    took_s: float

    def cells(self) -> tuple[str, ...]:
        """Give the line's cells as text."""
        return (
            self.job,
            self.source,
            _size(self.source_bytes),
            self.result,
            _size(self.result_bytes),
            self.outcome,
            f"{self.took_s:.2f} s",
        )


def table(rows: list[Row]) -> list[str]:
    """Lay the rows out in columns."""
    lines = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return [
        "  ".join(
            cell.rjust(width) if column in RIGHT_ALIGNED else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "-"
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"


def dimensions(before: tuple[int, int], after: tuple[int, int]) -> str:
    """Show how a picture's size in pixels has changed."""
    return f"{before[0]}x{before[1]} -> {after[0]}x{after[1]}"
