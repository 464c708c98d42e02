"""Draws when each task of a persistent launch ran, a row to each multiprocessor.

OSTINATO_PERSISTENT=on OSTINATO_TIMELINE=step.tsv ostinato generate …
python bench/gpu/timeline.py step.tsv timeline.svg
"""

import sys
from html import escape
from pathlib import Path

COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5")
WIDTH, ROW, TOP = 1600, 6, 40


def draw(lines: list[str]) -> str:
    """An SVG: coloured while a task runs, grey while it waits for others."""
    tasks = [(int(sm), label, *map(int, times)) for sm, label, *times in map(str.split, lines)]
    begin, end = min(task[2] for task in tasks), max(task[4] for task in tasks)
    labels = sorted({task[1] for task in tasks})
    colour = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}
    rows = 1 + max(task[0] for task in tasks)

    def bar(sm: int, first: int, last: int, fill: str, title: str) -> str:
        x, width = ((t) * WIDTH / (end - begin) for t in (first - begin, last - first))
        return (
            f'<rect x="{x:.2f}" y="{TOP + sm * ROW}" width="{width:.2f}" height="{ROW - 1}" '
            f'fill="{fill}"><title>{escape(title)}</title></rect>'
        )

    shapes = []
    for sm, label, turn, start, done in tasks:
        shapes.append(bar(sm, turn, start, "#ddd", f"{label} waits {start - turn} ns"))
        shapes.append(bar(sm, start, done, colour[label], f"{label} {done - start} ns"))
    busy = sum(task[4] - task[3] for task in tasks) / (rows * (end - begin))
    legend = [f'<text x="0" y="12">{(end - begin) / 1e3:.1f} µs, {busy:.0%} at work</text>']
    for i, label in enumerate(labels):
        legend.append(
            f'<rect x="{i * 180}" y="20" width="10" height="10" fill="{colour[label]}"/>'
            f'<text x="{i * 180 + 14}" y="29">{escape(label)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{TOP + rows * ROW}" '
        f'font-family="sans-serif" font-size="12">\n' + "\n".join(legend + shapes) + "\n</svg>\n"
    )


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(Path(sys.argv[1]).read_text().splitlines()))
