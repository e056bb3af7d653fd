"""Journals to audit: one that a real daemon left behind, one of toy machines that was trimmed; and how to tamper with them."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

from journal.audit.evidence.source import open_source
from journal.audit.findings import Finding
from journal.audit.verdict.pins import Pins
from journal.audit.verdict.verify import Verdict, verify
from journal.chain import link
from journal.record_digest import record_digest
from machine.canonical import canonical, digest
from tests.device.served import eventually, serving
from tests.models.journal_model import SMALL, Live, random_step
from tests.models.journal_model import TABLES as TOY_TABLES

TOY_SPECS = canonical({"machines": list(TOY_TABLES.values())})


def played(base: Path) -> Path:
    """A copy of what steadfsd left of a short life in which its worker was killed once."""
    share = base / "share"
    share.mkdir()
    copy = base / "played"
    with serving(share, "--xattr", "--keep-listening") as served:
        with served.guest(request_queues=2) as guest, guest.acting(1000, 100, 77):
            os.chmod(share, 0o777)
            directory = guest.mkdir(1, "dir")
            entry, opened = guest.create(directory.nodeid, "first")
            guest.write(entry.nodeid, opened.fh, 0, b"hello world")
            guest.read(entry.nodeid, opened.fh, 0, 5)
            guest.release(entry.nodeid, opened.fh)
            guest.link(entry.nodeid, 1, "second")
            guest.rename(directory.nodeid, "first", 1, "third")
            guest.unlink(1, "second")
            generation = served.told("worker_generation")
            os.kill(served.told("worker_pid"), 9)
            eventually(lambda: served.told("worker_generation") > generation)
            opened = guest.open(guest.lookup(1, "third").nodeid)
            guest.write(entry.nodeid, opened.fh, 0, b"again")
            guest.release(entry.nodeid, opened.fh)
            guest.list_all(1, plus=True)
            guest.mknod(1, b"odd\xff\n", 0o100644)
            guest.unlink(1, "third")
            guest.setattr(entry.nodeid, mode=0o600)
        status = served.end()
        assert status == 0
        copy.mkdir()
        for name in ("journal.db", "live"):
            shutil.copy(served.journal / name, copy / name)
    return copy


def trimmed(place: Path, seed: int, steps: int = 400) -> None:
    """A journal of toy machines, two lives, history deleted at its beginning."""
    live, random = Live(), Random(seed)
    for _ in range(2):
        specs = {"specs_json": TOY_SPECS, "specs_digest": bytes.fromhex(digest(TOY_SPECS))}
        journal = live.open(place, on_disk=True, limits=SMALL, **specs)
        live.recover()
        for _ in range(steps // 2):
            random_step(live, random)
            if random.random() < 0.5:
                journal.commit()
                for _ in range(random.randrange(3)):
                    journal.tidy()
        journal.commit()
        journal.close()


@contextmanager
def database(place: Path) -> Iterator[sqlite3.Connection]:
    """The journal's database, to be tampered with; committed at the end."""
    with closing(sqlite3.connect(place / "journal.db")) as connection:
        yield connection
        connection.commit()


def rechain(place: Path) -> None:
    """Makes every digest right again, as somebody who knows the format would after changing rows."""
    with database(place) as db:
        ((digest_before,),) = db.execute("SELECT digest FROM horizon").fetchall()
        rows = db.execute("SELECT seq, first, last, time_ns, body FROM commits ORDER BY seq").fetchall()
        for seq, first, last, time_ns, body in rows:
            digest_before = link(digest_before, seq, first, last, time_ns, body)
            db.execute("UPDATE commits SET digest = ? WHERE seq = ?", (digest_before, seq))


def redigest(place: Path) -> None:
    """The same for the checkpoint's rows."""
    with database(place) as db:
        for (table,) in db.execute('SELECT "table" FROM checkpoint').fetchall():
            rows = db.execute(f'SELECT key, seq, record FROM "checkpoint_{table}"').fetchall()
            for row in rows:
                db.execute(f'UPDATE "checkpoint_{table}" SET digest = ? WHERE key = ?', (record_digest(*row), row[0]))


def verdict(place: Path, *pins: bytes) -> Verdict:
    with open_source(place) as source:
        return verify(source, Pins(pins))


def first_finding(place: Path) -> Finding:
    """The first thing that is wrong; fails the test when nothing is."""
    found = verdict(place)
    assert not found.whole, "nothing was found"
    return found.findings.kept[0]
