"""What a guest does, over and over, while processes die: each answer is known."""

import pytest

from tests.play.guest import Guest

ROOT = 1


def one_round(guest: Guest, number: int) -> None:
    """Names made, found, linked, renamed and removed; genuine errors are asked for as well."""
    name = b"d%d" % number
    made = guest.mkdir(ROOT, name)
    assert guest.lookup(ROOT, name).nodeid == made.nodeid
    with pytest.raises(FileExistsError):
        guest.mkdir(ROOT, name)
    entry, opened = guest.create(made.nodeid, b"f")
    content = b"content %d" % number
    assert guest.write(entry.nodeid, opened.fh, 0, content) == len(content)
    assert guest.read(entry.nodeid, opened.fh, 0, 99) == content
    guest.link(entry.nodeid, made.nodeid, b"g")
    symlink = guest.symlink(made.nodeid, b"s", b"target")
    guest.rename(made.nodeid, b"g", made.nodeid, b"h")
    with pytest.raises(FileNotFoundError):
        guest.unlink(made.nodeid, b"g")
    for gone in (b"f", b"h", b"s"):
        guest.unlink(made.nodeid, gone)
    assert guest.read(entry.nodeid, opened.fh, 0, 99) == content  # unlinked, open, and another worker's by now
    guest.release(entry.nodeid, opened.fh)
    guest.rmdir(ROOT, name)
    for nodeid, nlookup in ((symlink.nodeid, 1), (entry.nodeid, 2), (made.nodeid, 2)):
        guest.forget(nodeid, nlookup)
    with pytest.raises(FileNotFoundError):
        guest.lookup(ROOT, name)
