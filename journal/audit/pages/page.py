"""The report's HTML. Everything that a guest chose goes through `escape`; the page loads nothing and runs no script."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from journal.audit.output import NS_PER_S, at
from journal.audit.pages.graph import Counts
from machine.table import Table

_MS = NS_PER_S / 1000
_FINDINGS_MAX = 200

MACHINES = (
    "As the journal's own specs declare them. Numbers count transitions that are present in the journal: on an arrow how often "
    "it was taken, in a box how often the state was entered. Pale: never. Point at an arrow to see its events."
)

STYLE = """
:root{--ink:#1d2630;--pale:#6b7885;--line:#d7dde2;--good:#2b7a4b;--bad:#b3261e;--warm:#f4e6cf}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);max-width:1180px;margin:24px auto;padding:0 20px;background:#fff}
h1{font-size:22px;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:17px;margin:34px 0 8px;border-bottom:1px solid var(--line)}
h3{font-size:15px;margin:22px 0 4px}p{margin:6px 0}.pale{color:var(--pale)}
.verdict{font-size:18px;font-weight:600;padding:10px 14px;border-radius:8px;color:#fff;display:inline-block;margin:8px 0}
.good{background:var(--good)}.bad{background:var(--bad)}
table{border-collapse:collapse;margin:8px 0;font-size:14px}th,td{text-align:left;padding:3px 14px 3px 0;vertical-align:top}
th{color:var(--pale);font-weight:500;border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.path,code{font-family:ui-monospace,monospace;font-size:13px;overflow-wrap:anywhere}
.columns{display:flex;flex-wrap:wrap;gap:8px 48px}.scroll{overflow-x:auto}svg{display:block;max-width:100%;height:auto}
.legend{font-size:13px}.key{margin-right:16px;white-space:nowrap}
.key i{display:inline-block;width:11px;height:11px;margin-right:5px}
.k-crash{background:var(--bad);border-radius:6px}.k-pause{background:var(--warm)}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .label{fill:#3c4854;font-size:11px}svg .count{fill:var(--pale)}
.axis{stroke:#8c98a3}.pause{fill:var(--warm)}.crash line{stroke:var(--bad);stroke-width:1.5}.crash circle{fill:var(--bad)}
.state{fill:#eef4f8;stroke:#2a6f97;stroke-width:1.4}.state.absent{fill:#fff;stroke-dasharray:5 3}
.state.never{fill:#fafafa;stroke:#c6ced5}
.way path{fill:none;stroke:#2a6f97;stroke-width:1.6}.way polygon{fill:#2a6f97}
.way.never path{stroke:#dfe5e9;stroke-width:1}.way.never polygon{fill:#dfe5e9}
"""

_BEGAN = {"recovery": "a worker had died", "earlier": "before the first row"}

_CSP = "default-src 'none'; style-src 'unsafe-inline'"


def whole(title: str, body: str) -> str:
    """The document."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{policy}'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def section(title: str, body: str) -> str:
    """A part with its heading."""
    return f"<h2>{escape(title)}</h2>{body}"


def paragraph(text: str) -> str:
    """Plain text."""
    return f"<p>{escape(text)}</p>"


def table(head: Iterable[str], rows: Iterable[Iterable[Any]], path_column: int = -1) -> str:
    """Numbers are set to the right; `path_column` in a fixed width."""
    cells = []
    for row in rows:
        tds = []
        for index, value in enumerate(row):
            kind = "n" if isinstance(value, (int, float)) else "path" if index == path_column else ""
            tds.append(f'<td class="{kind}">{escape(str(value))}</td>' if kind else f"<td>{escape(str(value))}</td>")
        cells.append(f"<tr>{''.join(tds)}</tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(cells)}</tbody></table>" if cells else paragraph("none")


def _sealed(seals: dict[str, Any] | None) -> list[tuple[str, str]]:
    if seals is None:
        return []
    up_to, word = seals["up_to"], seals["word_from"]
    proved = "nothing" if up_to is None else f"up to transition {up_to['transition']} (commit {up_to['commit']})"
    return [("sealed", proved if word is None else f"{proved}; from {word} on it is only the worker's word")]


def verdict(place: object, found: Mapping[str, Any]) -> str:
    """The head of the page: whole or not, and what is wrong."""
    is_whole = found["whole"]
    says = "Whole: no finding" if is_whole else f"Not whole: {found['findings_total']} findings"
    commits, transitions, checkpoint = found["commits"], found["transitions"], found["checkpoint"]
    facts = [
        ("commits", f"{commits['first']} to {commits['last']}"),
        ("transitions", f"{transitions['first']} to {transitions['last']}{_deleted(transitions)}"),
        ("head (digest of the last commit)", found["digest"]),
        ("digest of the specs", found["specs_digest"]),
        (
            "checkpoint",
            f"{checkpoint['compared']} records compared with the rows, {checkpoint['assumed']} from before the first row",
        ),
        ("lives of the device", str(found["lives"])),
        *((f"signed head {head['file']}", f"commit {head['commit']} {head['stands']}") for head in found["heads"]),
        *_sealed(found["seals"]),
    ]
    rows = [
        (
            f["check"],
            f["commit"] or "",
            f["seq"] or "",
            f"{f['table'] or ''} {'' if f['key'] is None else f['key']}".strip(),
            f["what"],
        )
        for f in found["findings"][:_FINDINGS_MAX]
    ]
    wrong = "" if is_whole else section("Findings of verify", table(("check", "commit", "transition", "record", "what"), rows))
    return (
        f"<h1>Journal {escape(str(place))}</h1>"
        f'<p class="verdict {"good" if is_whole else "bad"}">{escape(says)}</p>'
        + table(("", ""), facts, 1)
        + "".join(f'<p class="pale">Note: {escape(note)}</p>' for note in found["notes"])
        + wrong
    )


def _deleted(transitions: Mapping[str, int]) -> str:
    missing = transitions["first"] - 1
    archived = transitions["deleted"] - missing
    parts = [f", {archived} of them from the archive"] if archived > 0 else []
    parts += [f", {missing} older ones are not here"] if missing else []
    return "".join(parts)


def lives(found: list[dict[str, Any]]) -> str:
    """When the device was started, and when a worker went on after a death."""
    rows = [
        (
            life["life"],
            _BEGAN.get(life["kind"], life["kind"]),
            at(life["time_ns"]),
            life["pid"],
            _ms(life.get("since_last_commit_ns")),
            _ms(life.get("between_commits_ns")),
        )
        for life in found
    ]
    return "<h3>Lives</h3>" + table(
        ("life", "began", "at (UTC)", "process", "ms after the last commit", "ms between commits"), rows
    )


def pauses(found: list[dict[str, Any]]) -> str:
    """The longest times without a commit; a guest that asks nothing makes them too."""
    rows = [(round(pause["ns"] / _MS, 1), at(pause["since_ns"]), pause["after_commit"]) for pause in found]
    return "<h3>Longest pauses between commits</h3>" + table(("ms", "from (UTC)", "after commit"), rows)


def files(about: Mapping[str, Any]) -> str:
    """The busiest files."""
    by_count = table(("file", "operations"), ((row["path"], row["operations"]) for row in about["top_files"]), 0)
    by_bytes = table(("file", "bytes read and written"), ((row["path"], row["bytes"]) for row in about["top_bytes"]), 0)
    return f'<div class="columns"><div>{by_count}</div><div>{by_bytes}</div></div>'


def operations(about: Mapping[str, Any]) -> str:
    """What was done how often, and by whom."""
    users = table(("uid", "gid", "operations"), ((str(u["uid"]), str(u["gid"]), u["operations"]) for u in about["users"]))
    traffic = table(("closed handles", ""), about["traffic"].items())
    parts = (table(("operation", "times"), about["operations"].items()), users + traffic)
    control = table(("front-end and device", "times"), about["control"].items())
    return f'<div class="columns"><div>{parts[0]}</div><div>{parts[1]}</div><div>{control}</div></div>'


def machine(found: Table, svg: str, counts: Counts) -> str:
    """A machine's diagram and its transitions in numbers."""
    rows = sorted(((s, e, d, n) for (name, s, e, d), n in counts.items() if name == found.name), key=lambda row: -row[3])
    head = f"<h3>{escape(found.name)}</h3><p class='pale'>{escape(found.doc)}</p>"
    return f'{head}<div class="scroll">{svg}</div>' + table(("state", "event", "leads to", "times"), rows)


def _ms(ns: int | None) -> float | str:
    return "" if ns is None else round(ns / _MS, 1)
