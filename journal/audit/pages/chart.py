"""The timeline of the report: operations per slice of time, deaths of the device's worker, pauses."""

from collections import Counter
from collections.abc import Callable
from html import escape
from typing import Any

from journal.audit.evidence.rules import Operation
from journal.audit.history.history import Entry
from journal.audit.output import NS_PER_S, at

SLICES = 160
WIDTH, HEIGHT, LEFT, BASE = 1120, 190, 50, 150

KINDS = (
    ("names", "changes of names and attributes", "#b5541c"),
    ("handles", "files opened and closed", "#2a6f97"),
    ("lookups", "lookups and forgets", "#9aa9b5"),
    ("control", "front-end and device", "#6a4c93"),
)


class Timeline:
    """Counts entries by slice of the time from `first_ns` to `last_ns`. `operation`: see `Rules`."""

    def __init__(self, first_ns: int, last_ns: int, operation: Callable[[str], Operation | None]) -> None:
        self._operation = operation
        self._first = first_ns
        self._length = max(1, last_ns - first_ns)
        self._slices: list[Counter[str]] = [Counter() for _ in range(SLICES)]
        self._recoveries: list[dict[str, Any]] = []

    def add(self, entry: Entry) -> None:
        """Counts it."""
        if entry.kind == "life":
            if entry.name == "recovery":
                self._recoveries.append({"time_ns": entry.time_ns, **entry.detail})
            return
        slice_ = (entry.time_ns - self._first) * SLICES // self._length
        self._slices[min(max(slice_, 0), SLICES - 1)][self._kind(entry)] += 1

    def _kind(self, entry: Entry) -> str:
        operation = self._operation(entry.name)
        if entry.kind == "control":
            return "control"
        if operation is None:
            return "names"
        if "handle" in operation.gives and operation.about in ("", "unused"):
            return "handles"
        return "lookups" if "inode" in operation.gives and not operation.changes_host else "names"

    def _x(self, time_ns: int) -> float:
        share = min(max((time_ns - self._first) / self._length, 0.0), 1.0)
        return LEFT + share * (WIDTH - LEFT - 10)

    def draw(self, pauses: list[dict[str, Any]]) -> str:
        """The SVG element; `pauses` as `Stats.longest_pauses` gives them."""
        most = max((sum(slice_.values()) for slice_ in self._slices), default=0) or 1
        parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="timeline">']
        parts += [self._draw_pause(pause) for pause in pauses]
        step = (WIDTH - LEFT - 10) / SLICES
        for index, slice_ in enumerate(self._slices):
            y = float(BASE)
            for kind, means, colour in KINDS:
                height = slice_[kind] / most * (BASE - 20)
                y -= height
                if slice_[kind]:
                    parts.append(
                        f'<rect x="{LEFT + index * step:.1f}" y="{y:.1f}" width="{step * 0.9:.1f}" height="{height:.1f}" '
                        f'fill="{colour}"><title>{slice_[kind]} {escape(means)}</title></rect>'
                    )
        parts += [self._draw_recovery(recovery) for recovery in self._recoveries]
        parts.append(f'<line x1="{LEFT}" y1="{BASE}" x2="{WIDTH - 10}" y2="{BASE}" class="axis"/>')
        parts.append(f'<text x="{LEFT - 6}" y="28" class="label" text-anchor="end">{most}</text>')
        parts.append(f'<text x="{LEFT}" y="{BASE + 18}" class="label">{at(self._first)}</text>')
        end = self._first + self._length
        parts.append(f'<text x="{WIDTH - 10}" y="{BASE + 18}" class="label" text-anchor="end">{at(end)} UTC</text>')
        return "".join([*parts, "</svg>"])

    def _draw_pause(self, pause: dict[str, Any]) -> str:
        x = self._x(pause["since_ns"])
        width = max(1.0, self._x(pause["since_ns"] + pause["ns"]) - x)
        title = f"no commit for {pause['ns'] / NS_PER_S * 1000:.1f} ms after commit {pause['after_commit']}"
        return f'<rect x="{x:.1f}" y="12" width="{width:.1f}" height="{BASE - 12}" class="pause"><title>{title}</title></rect>'

    def _draw_recovery(self, recovery: dict[str, Any]) -> str:
        x = self._x(recovery["time_ns"])
        title = f"life {recovery['life']}: the worker had died; process {recovery['pid']} went on at {at(recovery['time_ns'])}"
        line = f'<line x1="{x:.1f}" y1="8" x2="{x:.1f}" y2="{BASE}"/>'
        return f'<g class="crash"><title>{title}</title>{line}<circle cx="{x:.1f}" cy="8" r="4"/></g>'


def legend() -> str:
    """What the colours mean."""
    keys = [f'<span class="key"><i style="background:{colour}"></i>{escape(means)}</span>' for _, means, colour in KINDS]
    keys.append('<span class="key"><i class="k-crash"></i>a worker died and another went on</span>')
    keys.append('<span class="key"><i class="k-pause"></i>longest pauses between commits</span>')
    return f'<p class="legend">{"".join(keys)}</p>'
