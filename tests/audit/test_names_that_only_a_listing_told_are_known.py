"""A guest that lists a directory never looks its files up: READDIRPLUS gives it their inodes, and the journal their names."""

import json
from pathlib import Path
from typing import Any

import pytest

from journal.audit.commands.cli import main
from journal.database.read import copied
from tests.device.served import serving
from tests.play.fuse_wire import ROOT

BYTES_PER_ENTRY_MAX = 256
"""225 were measured with names of 14 bytes, 35 of them for the name."""


def told(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_file_met_by_a_listing_is_traced_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    share = tmp_path / "share"
    (share / "dir").mkdir(parents=True)
    for number in range(40):
        (share / "dir" / f"file-{number:05d}.txt").write_text("data")
    with serving(share) as served, served.guest() as guest:
        before = served.told("journal_seq")
        listed = {entry.name: entry for entry in guest.list_all(guest.lookup(ROOT, "dir").nodeid, plus=True)}
        met = listed[b"file-00007.txt"].entry
        assert met is not None
        opened = guest.open(met.nodeid)
        guest.write(met.nodeid, opened.fh, 0, b"more")
        guest.release(met.nodeid, opened.fh)
        guest.setattr(met.nodeid, mode=0o600)

        trace = told(capsys, "trace", served.journal, "/dir/file-00007.txt")
        operations = [entry["name"] for entry in trace["entries"]]
        assert operations == ["READDIRPLUS", "OPEN", "RELEASE", "SETATTR"]
        assert (trace["names"], trace["totals"]["bytes_written"]) == (["/dir/file-00007.txt"], 4)
        inodes = told(capsys, "replay", served.journal)["state"]["inode"]
        assert {f"/dir/{name.decode()}" for name in listed if name not in (b".", b"..")} <= {
            path for inode in inodes for path in inode["paths"]
        }
        rows = told(capsys, "export", served.journal, "--format", "json")["transitions"]
        entries = [row for row in rows if row["operation"] == "READDIRPLUS" and row["machine"] == "inode"]
        assert len(entries) == 40
        assert before < entries[0]["seq"]


def test_the_name_of_an_entry_costs_the_journal_little(share: Path) -> None:
    for number in range(100):
        (share / f"file-{number:05d}.txt").write_text("")
    with serving(share) as served, served.guest() as guest:
        guest.list_all(ROOT, plus=True)
        with copied(served.journal) as connection:
            items = [item for (body,) in connection.execute("SELECT body FROM commits") for item in json.loads(body)]
    sizes = [len(json.dumps(item, separators=(",", ":"))) for item in items if item[0] == "inode" and item[1] != ROOT]
    assert len(sizes) == 100
    assert sum(sizes) / len(sizes) < BYTES_PER_ENTRY_MAX
