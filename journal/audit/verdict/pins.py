"""What must be in the chain: digests that an earlier `verify` told, and signed heads (see journal.audit.heads)."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journal.audit.exits import UsageError
from journal.audit.findings import Findings
from journal.audit.heads import Head, KeyFailed, read_signed
from journal.chain import DIGEST_BYTES, Anchor

_DIGEST = re.compile(f"[0-9a-fA-F]{{{2 * DIGEST_BYTES}}}")


@dataclass(slots=True)
class Pinned:
    """A signed head. `stands`: `holds`; `unproved`, it is there but the rows before it are not sound; `differs`; `absent`."""

    name: str
    head: Head
    stands: str = "absent"

    def document(self) -> dict[str, Any]:
        """As JSON shows it."""
        at = self.head.anchor
        about = {"file": self.name, "journal": self.head.journal, "commit": at.commit_seq, "last": at.last}
        return {**about, "digest": at.digest.hex(), "stands": self.stands}


class Pins:
    """`verify` tells each end of the chain that it meets, and asks at the end."""

    def __init__(self, digests: tuple[bytes, ...] = (), heads: tuple[Pinned, ...] = ()) -> None:
        self.heads = heads
        self._missing = set(digests)

    def met(self, at: Anchor, identity: int | None, sound: bool) -> None:
        """`identity`: of the journal. `sound`: nothing breaks the chain up to here."""
        self._missing.discard(at.digest)
        for pinned in self.heads:
            if pinned.head.journal == identity and pinned.head.anchor.commit_seq == at.commit_seq:
                same = pinned.head.anchor == at
                pinned.stands = ("holds" if sound else "unproved") if same else "differs"

    def judge(self, start: Anchor, end: Anchor, identity: int | None, findings: Findings) -> None:
        """`start`, `end`: of the chain that was read."""
        for pin in sorted(self._missing):
            findings.add("pin", f"no commit has the digest {pin.hex()}: rows were cut off, or the chain was computed anew")
        for pinned in self.heads:
            commit = pinned.head.anchor.commit_seq
            if pinned.stands == "differs":
                what = f"is not what was signed in {pinned.name}: history up to it was altered or replaced"
                findings.add("pin", what, commit=commit)
            elif pinned.stands == "unproved":
                what = f"has the digest signed in {pinned.name}, but the rows before it are not sound"
                findings.add("pin", what, commit=commit)
            elif pinned.stands == "absent":
                findings.add("pin", f"{pinned.name}: {_why_absent(pinned.head, start, end, identity)}")


def _why_absent(head: Head, start: Anchor, end: Anchor, identity: int | None) -> str:
    commit = head.anchor.commit_seq
    if identity != head.journal:
        return f"signed was journal {head.journal}, and this is journal {identity}: it was begun anew, or replaced"
    if commit > end.commit_seq:
        return f"signed was commit {commit}, and the last one here is {end.commit_seq}: rows were cut off"
    if commit < start.commit_seq:
        first = start.commit_seq + 1
        return (
            f"signed was commit {commit}, and the first one here is {first}: give --archive, which has what the journal deleted"
        )
    return f"signed was commit {commit}, which is missing here"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of the commands that verify."""
    parser.add_argument(
        "--head", action="append", default=[], metavar="DIGEST|FILE",
        help="digest (hexadecimal) that an earlier verify told, or a signed head: must still be in the chain; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--public-key", type=Path, metavar="FILE", help="the Ed25519 key (PEM) that signed the heads, for --head FILE"
    )


def from_options(options: argparse.Namespace) -> Pins:
    """Checks every signature at once. Raises UsageError, and KeyFailed for what can't be trusted or used."""
    digests: list[bytes] = []
    heads: list[Pinned] = []
    for text in options.head:
        if _DIGEST.fullmatch(text):
            digests.append(bytes.fromhex(text))
        elif not Path(text).exists():
            digits = f"the {2 * DIGEST_BYTES} hexadecimal digits that verify printed as 'head'"
            raise UsageError(f"--head {text}: give {digits}, or a signed head's file")
        elif options.public_key is None:
            raise UsageError(f"--head {text}: is a file; give --public-key too, the key that signed it")
        else:
            heads.append(Pinned(text, _signed(Path(text), options.public_key)))
    if options.public_key is not None and not heads:
        raise UsageError("--public-key: give --head too, the file of the head that it signed")
    return Pins(tuple(digests), tuple(heads))


def _signed(head: Path, public_key: Path) -> Head:
    try:
        return read_signed(head, public_key).head
    except KeyFailed as error:
        raise type(error)(f"--head {head}: {error}") from error
