"""What `verify` finds: each finding says which check failed, where, and what is wrong there."""

from dataclasses import dataclass, field
from typing import Any

KEPT_MAX = 1000
"""Findings beyond are only counted: a journal that is wrong everywhere must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `check` is one of docs/audit.md's names; the others are None where they say nothing."""

    check: str
    what: str
    commit: int | None = None
    seq: int | None = None
    table: str | None = None
    key: int | None = None

    def document(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {name: getattr(self, name) for name in ("check", "what", "commit", "seq", "table", "key")}

    def line(self) -> str:
        """As people read it: where, then what."""
        places = [f"{name} {value}" for name, value in (("commit", self.commit), ("transition", self.seq)) if value is not None]
        if self.table is not None:
            places.append(self.table if self.key is None else f"{self.table} {self.key}")
        return f"{', '.join(places) or self.check}: {self.what}"


@dataclass(slots=True)
class Findings:
    """All findings in the order in which they were met; the first is the first bad row."""

    kept: list[Finding] = field(default_factory=list)
    total: int = 0

    def add(self, check: str, what: str, **where: Any) -> None:
        """`where`: commit, seq, table, key."""
        self.total += 1
        if len(self.kept) < KEPT_MAX:
            self.kept.append(Finding(check, what, **where))
