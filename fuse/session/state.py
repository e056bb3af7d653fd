"""What the file side knows of the session, beside the tables of inodes and handles."""

from dataclasses import dataclass, field
from typing import Any

from fuse.offer import BIT
from fuse.wire import FUSE_ROOT_ID

ABSENT_SESSION: dict[str, Any] = {
    "epoch": 0,
    "major": 0,
    "minor": 0,
    "flags": 0,
    "max_write": 0,
    "max_readahead": 0,
    "readdirplus": False,
    "writeback": False,
}


@dataclass(slots=True)
class FileState:
    """`session` is the state of the session machine, `record` its journaled record (without the state).

    Numbers of inodes and handles only grow within the life of a device, across sessions too: a number that the guest
    still holds from before can't name something else.
    """

    session: str = "none"
    record: dict[str, Any] = field(default_factory=lambda: dict(ABSENT_SESSION))
    last_nodeid: int = FUSE_ROOT_ID
    last_fh: int = 0

    def new_fh(self) -> int:
        """An fh that was never given."""
        self.last_fh += 1
        return self.last_fh

    def adopt(self, record: dict[str, Any]) -> None:
        """The record of an earlier life, as the journal tells it; numbers go on where it stopped."""
        fields = dict(record)
        self.session = fields.pop("state")
        self.record = fields

    def live_record(self) -> dict[str, Any] | None:
        """The session's record as the journal's fold has it; None before the first start."""
        return None if self.session == "none" else {**self.record, "state": self.session}

    def has(self, flag: str) -> bool:
        """Whether this INIT flag is in force."""
        return bool(self.record["flags"] & BIT[flag])
