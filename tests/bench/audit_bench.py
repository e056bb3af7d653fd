"""How fast `steadfs-audit verify` is, and how much memory it takes: `python -m tests.bench.audit_bench [ROWS]`.

A journal of a guest that makes, closes, removes and forgets files, one commit for each request and nothing deleted; as
many of them live at a time as LIVE says. The journal is on tmpfs if there is one.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fuse.host.host import FILE, InodeRecord
from fuse.session.record import (
    finished,
    handle_delete,
    handle_put,
    inode_forget_last,
    inode_put,
    inode_record_text,
    session_event,
)
from journal import Journal, Limits
from machine.canonical import canonical, digest
from specs.catalog import CATALOG
from specs.machines import JOURNALED
from tests.bench.journal_bench import file_bytes, make_directory

ROWS = 1_000_000
LIVE = 10_000
SECONDS_MAX = 30.0
REPLY = bytes(160)
SESSION: dict[str, Any] = {"epoch": 1, "flags": 1, "major": 7, "max_write": 1 << 20, "max_readahead": 1 << 17}


class Guest:
    """Writes a guest's rows; every fourth row of `play` makes a file."""

    def __init__(self, directory: Path) -> None:
        text = canonical(CATALOG)
        self.journal = Journal.open(
            directory,
            tables={table.name: table for table in JOURNALED},
            specs_json=text,
            specs_digest=bytes.fromhex(digest(text)),
            source=lambda table, key: None,
            on_disk=True,
            limits=Limits(transitions_between_checkpoints=1 << 60, bytes_between_checkpoints=1 << 60),
        )
        self._unique = 0
        self._nodeid = 1
        self._live: list[int] = []

    def begin(self) -> None:
        """A session with its root."""
        record = {**SESSION, "minor": 41, "readdirplus": True, "writeback": False}
        effects = [["put", "session", 0, {**record, "state": "fresh"}]]
        self._add(f'["session",0,"start","none","fresh",null,{json.dumps(effects)},null]', "session", 0)
        clears = [["set", "session", 0, record], ["clear", "inode"], ["clear", "handle"], ["clear", "mount"]]
        asked = self._asked("INIT", 0)
        self._add(f'["session",0,"INIT","fresh","ready",{asked},{json.dumps(clears)},null]', "session", 0)
        for table in ("inode", "handle", "mount"):
            self.journal.pending.add_clear(table)
        self._put(1, str(self._unique))
        self.journal.commit()

    def play(self) -> int:
        """Four rows: a file made, closed, and once enough of them live, the oldest removed and forgotten."""
        journal = self.journal
        self._nodeid += 1
        nodeid = self._nodeid
        asked = self._asked("CREATE", 1, "[194,420,18,0]", f"file{nodeid}")
        self._put(nodeid, asked)
        number = str(self._unique)
        self._add(finished(handle_put(nodeid, FILE, number, nodeid, 2, 9), b""), "handle", nodeid)
        journal.commit()
        asked = self._asked("RELEASE", nodeid, f"[{nodeid},2,0,0]")
        self._add(finished(handle_delete(nodeid, FILE, asked, (1, 1, 4096, 4096)), b""), "handle", nodeid)
        journal.commit()
        self._live.append(nodeid)
        if len(self._live) <= LIVE:
            return 2
        oldest = self._live.pop(0)
        asked = self._asked("UNLINK", 1, "[]", f"file{oldest}")
        self._add(finished(session_event("UNLINK", asked), bytes(16)), "session", 0)
        journal.commit()
        asked = self._asked("FORGET", oldest, "[1]")
        self._add(finished(inode_forget_last(oldest, asked), b""), "inode", oldest)
        journal.commit()
        return 4

    def _put(self, nodeid: int, asked: str) -> None:
        record = InodeRecord(nodeid, 1, 65024, nodeid + 2_000_000, 27, 0o100000, -1, 1, nodeid.to_bytes(8, "little"))
        self._add(finished(inode_put(nodeid, asked, inode_record_text(record)), REPLY), "inode", nodeid)

    def _asked(self, op: str, node: int, args: str = "[]", name: str = "") -> str:
        self._unique += 2
        shown = f'"name":"{name}",' if name else ""
        return f'{{"args":{args},"gid":0,{shown}"node":{node},"op":"{op}","pid":1,"uid":0,"unique":{self._unique}}}'

    def _add(self, text: str, machine: str, key: int) -> None:
        self.journal.pending.add(text, machine, key)


def write(directory: Path, rows: int) -> None:
    """A journal of about so many rows."""
    guest = Guest(directory)
    guest.begin()
    written = 1
    while written < rows:
        written += guest.play()
    guest.journal.close()


def main(arguments: list[str]) -> int:
    """Prints the figures; 1 when verify finds something, or needs more than 30 s of CPU for 10^6 rows."""
    rows = int(arguments[0]) if arguments else ROWS
    with make_directory() as name:
        place = Path(name) / "j"
        write(place, rows)
        size = file_bytes(place)
        begun = time.perf_counter()
        command = [sys.executable, "-m", "journal.audit.commands.cli", "verify", "--json", str(place)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.perf_counter() - begun
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = json.loads(done.stdout)
    transitions = found["transitions"]["last"] - found["transitions"]["first"] + 1
    print(f"{found['commits']['last']} rows, {transitions} transitions, {size >> 20} MiB, {LIVE} files alive:")
    cpu = usage.ru_utime + usage.ru_stime
    print(f"verified in {seconds:.1f} s ({cpu:.1f} s of CPU) with {usage.ru_maxrss >> 10} MiB of memory")
    for finding in found["findings"][:5]:
        print(finding)
    return int(not found["whole"] or cpu > SECONDS_MAX * max(1.0, rows / ROWS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
