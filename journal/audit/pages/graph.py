"""A machine as an SVG: its states, the ways between them, and how often each was gone."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from machine.check import Allowed, Verdict
from machine.table import Table

BOX_WIDTH, BOX_HEIGHT = 150, 34
COLUMN, ROW = 250, 110
MARGIN = 46
_EVENTS_MAX = 3

Counts = Mapping[tuple[str, str, str, str], int]
"""(machine, source, event, dest) -> how often"""


@dataclass(slots=True)
class _Way:
    """All events that lead from one state to another."""

    source: str
    dest: str
    events: Counter[str]

    @property
    def total(self) -> int:
        return sum(self.events.values())

    def label(self) -> str:
        """The count, and the events that made it, most frequent first."""
        gone = [f"{event} {n}" for event, n in self.events.most_common(_EVENTS_MAX) if n]
        more = sum(1 for n in self.events.values() if n) - len(gone)
        return ", ".join(gone) + (f" and {more} more" if more > 0 else "")


def draw(table: Table, verdicts: Mapping[tuple[str, str], Verdict], counts: Counts) -> str:
    """The SVG element. States and ways that were never visited are pale."""
    ways = _ways(table, verdicts, counts)
    places = _places(table, ways)
    width = MARGIN * 2 + max(x for x, _ in places.values()) + BOX_WIDTH
    height = MARGIN + max(y for _, y in places.values()) + BOX_HEIGHT + 20
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="machine {escape(table.name)}">'
    ]
    parts += [_draw_way(way, places, index) for index, way in enumerate(ways)]
    arrivals: Counter[str] = Counter()
    for way in ways:
        arrivals[way.dest] += way.total
    parts += [_draw_state(state, places[state], arrivals[state], state == table.absent) for state in table.states]
    return "".join([*parts, "</svg>"])


def _ways(table: Table, verdicts: Mapping[tuple[str, str], Verdict], counts: Counts) -> list[_Way]:
    ways: dict[tuple[str, str], _Way] = {}
    for (source, event), verdict in verdicts.items():
        if isinstance(verdict, Allowed):
            way = ways.setdefault((source, verdict.dest), _Way(source, verdict.dest, Counter()))
            way.events[event] += counts.get((table.name, source, event, verdict.dest), 0)
    return sorted(ways.values(), key=lambda way: way.total)


def _places(table: Table, ways: list[_Way]) -> dict[str, tuple[int, int]]:
    """Columns by distance from the state without a record, rows in the order of the table."""
    distance = {table.absent: 0}
    frontier = [table.absent]
    while frontier:
        state = frontier.pop(0)
        for way in ways:
            if way.source == state and way.dest not in distance:
                distance[way.dest] = distance[state] + 1
                frontier.append(way.dest)
    rows: Counter[int] = Counter()
    places: dict[str, tuple[int, int]] = {}
    for state in table.states:
        column = distance.get(state, 0)
        places[state] = (MARGIN + column * COLUMN, MARGIN + rows[column] * ROW + (column % 2) * 18)
        rows[column] += 1
    return places


def _draw_state(state: str, place: tuple[int, int], arrivals: int, absent: bool) -> str:
    x, y = place
    kind = "state" + (" absent" if absent else "") + ("" if arrivals or absent else " never")
    count = f'<text x="{x + BOX_WIDTH - 8}" y="{y + 22}" class="count" text-anchor="end">{arrivals}</text>' if arrivals else ""
    return (
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8" class="{kind}"/>'
        f'<text x="{x + 10}" y="{y + 22}" class="name">{escape(state)}</text>{count}'
    )


def _draw_way(way: _Way, places: Mapping[str, tuple[int, int]], index: int) -> str:
    (x1, y1), (x2, y2) = places[way.source], places[way.dest]
    kind = "way" if way.total else "way never"
    if way.source == way.dest:
        path, tip, label = _loop(x1, y1)
    elif x2 > x1:
        start, end = (x1 + BOX_WIDTH, y1 + BOX_HEIGHT // 2), (x2, y2 + BOX_HEIGHT // 2)
        bend = (end[0] - start[0]) // 2
        path = f"M{start[0]} {start[1]} C{start[0] + bend} {start[1]} {end[0] - bend} {end[1]} {end[0]} {end[1]}"
        tip, label = _tip(end, 1, 0), ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2 - 5)
    else:
        start, end = (x1 + 40, y1 + BOX_HEIGHT), (x2 + BOX_WIDTH - 40, y2 + BOX_HEIGHT)
        low = max(start[1], end[1]) + 26 + 10 * (index % 3)
        path = f"M{start[0]} {start[1]} C{start[0]} {low} {end[0]} {low} {end[0]} {end[1]}"
        tip, label = _tip(end, 0, -1), ((start[0] + end[0]) // 2, low - 2)
    count = f'<text x="{label[0]}" y="{label[1]}" class="label" text-anchor="middle">{way.total}</text>' if way.total else ""
    title = escape(f"{way.source} to {way.dest}: {way.label() or 'never'}")
    return f'<g class="{kind}"><title>{title}</title><path d="{path}"/><polygon points="{tip}"/>{count}</g>'


def _loop(x: int, y: int) -> tuple[str, str, tuple[int, int]]:
    left, right = x + BOX_WIDTH - 60, x + BOX_WIDTH - 30
    return f"M{left} {y} C{left - 6} {y - 30} {right + 6} {y - 30} {right} {y}", _tip((right, y), 0, 1), (right - 15, y - 25)


def _tip(end: tuple[int, int], across: int, down: int) -> str:
    """An arrow's head at `end`, pointing right (1, 0), down (0, 1) or up (0, -1)."""
    x, y = end
    if across:
        return f"{x},{y} {x - 8},{y - 4} {x - 8},{y + 4}"
    return f"{x},{y} {x - 4},{y - 8 * down} {x + 4},{y - 8 * down}"
