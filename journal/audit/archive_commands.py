"""What `python -m journal.audit` does with archives and signed heads; each prints and returns whether all is well."""

import os
from pathlib import Path

from journal.archive.format import Gap
from journal.archive.read import ArchiveDamaged, ArchivedJournal, journals, rows
from journal.audit.heads import KeyFailed, SignedHead, head_of, read_key, read_signed, sign, standing, to_text
from journal.errors import NoJournal


def print_archive(directory: Path) -> bool:
    """Verifies every file. Raises NoJournal without any."""
    try:
        found = journals(directory)
    except OSError as error:
        raise NoJournal(directory) from error
    if not found:
        raise NoJournal(directory)
    whole = True
    for journal in found:
        whole = _print_journal(journal) and whole
    return whole


def _print_journal(journal: ArchivedJournal) -> bool:
    count, damage = 0, ""
    try:
        for item in rows(journal):
            count += not isinstance(item, Gap)
    except ArchiveDamaged as error:
        damage = str(error)
    first, last = journal.start, journal.end
    print(f"journal {journal.journal}: {len(journal.files)} files, {count} commits", end="")
    if first is not None and last is not None:
        print(f" from {first.commit_seq + 1} to {last.commit_seq}, last digest {last.digest.hex()}", end="")
    print()
    for gap in journal.gaps:
        print(
            f"  missing: commits {gap.before.commit_seq + 1} to {gap.after.commit_seq}, dropped while they couldn't be archived"
        )
    if journal.torn:
        print(f"  the newest file's tail is {journal.torn}: it is being written, or is mended by the next daemon")
    print(f"  damaged: {damage}" if damage else "  whole" if not journal.gaps else "  whole but for what is missing")
    return not damage


def sign_to(directory: Path, key: Path, out: Path) -> bool:
    """Writes the signed head of a journal or an archive to a file; raises KeyFailed, JournalError."""
    signed = sign(head_of(directory), read_key(key, "--key"))
    try:
        fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "w") as file:
            file.write(to_text(signed))
    except OSError as error:
        raise KeyFailed(f"--out: {out}: {error.strerror}; name a file that can be written") from error
    print(f"signed: commit {signed.head.anchor.commit_seq}, digest {signed.head.anchor.digest.hex()}")
    return True


def verify_head(directory: Path, head: Path, public_key: Path) -> tuple[SignedHead, str]:
    """The head, and its `standing` in the directory's history. Raises KeyFailed when key or signature are no good."""
    signed = read_signed(head, public_key)
    return signed, standing(directory, signed.head)


def print_head(directory: Path, head: Path, public_key: Path) -> bool:
    """The same for people."""
    signed, stands = verify_head(directory, head, public_key)
    at = f"commit {signed.head.anchor.commit_seq}"
    told = {
        "holds": f"holds: {at} is in the history as it was signed",
        "differs": f"differs: {at} is not what was signed: history was altered or replaced",
        "absent": f"absent: {at} is not in this history: it was removed by age, or cut off",
    }
    print(told[stands])
    return stands == "holds"
