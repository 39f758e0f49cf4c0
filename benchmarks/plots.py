"""A plot for each group: bars of the ratios, with a mark where the goal is."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from benchmarks.measuring import Figure

_ROW: Final = 26
_TEXT: Final = 430
_BAR: Final = 300
_WIDTH: Final = _TEXT + _BAR + 90
_COLORS: Final = {True: "#3b7a57", False: "#b5452c", None: "#4a6fa5"}


def plot(title: str, figures: Sequence[Figure]) -> str:
    """An SVG of those figures of a group that have a floor; the scale ends at the largest ratio or goal."""
    shown = [figure for figure in figures if figure.ratio is not None]
    scale = _BAR / max(1.0, *(max(figure.ratio or 0, figure.most_ratio or 0) for figure in shown))
    height = _ROW * (len(shown) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="18" font-weight="bold">{escape(title)}: time as a multiple of the floor</text>',
    ]
    for row, figure in enumerate(shown, start=1):
        top, ratio, goal = _ROW * row, figure.ratio or 0, figure.most_ratio
        lines.append(f'<text x="8" y="{top + 17}">{escape(figure.name)}</text>')
        lines.append(
            f'<rect x="{_TEXT}" y="{top + 5}" width="{ratio * scale:.1f}" height="{_ROW - 10}" '
            f'fill="{_COLORS[figure.reached]}"/>'
        )
        asked = ""
        if goal is not None:
            asked = f" ≤ {goal:g}"
            at = _TEXT + goal * scale
            lines.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top + 2}" y2="{top + _ROW - 2}" stroke="#000000"/>')
        lines.append(f'<text x="{_TEXT + _BAR + 12}" y="{top + 17}">{ratio:.2f}{asked}</text>')
    bottom = _ROW * (len(shown) + 1)
    at = _TEXT + scale
    lines.append(
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_ROW}" y2="{bottom}" stroke="#888888" stroke-dasharray="3 3"/>'
    )
    lines.append(f'<text x="{at:.1f}" y="{bottom + 14}" text-anchor="middle" fill="#555555">floor</text>')
    return "\n".join([*lines, "</svg>", ""])
