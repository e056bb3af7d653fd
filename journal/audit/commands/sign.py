"""`steadfs-audit sign JOURNAL --key PRIVATE.pem --out HEAD.json`: where the chain ends, signed."""

import argparse
from pathlib import Path

from journal.audit.evidence.source import Source, open_source
from journal.audit.exits import Exit
from journal.audit.heads import Head, read_key, sign, to_text
from journal.audit.output import Out
from journal.chain import extend
from journal.errors import JournalDamaged, NoJournal

HELP = "where the verified chain ends, signed with an Ed25519 key; verify --head tells later whether it still stands"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("journal", type=Path)
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="private key (openssl genpkey)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the signed head; an older one is replaced")


def run(options: argparse.Namespace, out: Out) -> Exit:
    """Verifies the chain, signs its end, writes the file."""
    with open_source(options.journal, options.archive, options.identity) as source:
        signed = sign(head_of(source), read_key(options.key, "--key"))
    options.out.write_text(to_text(signed), encoding="ascii")
    at = signed.head.anchor
    if out.as_json:
        document = {"written": str(options.out), "identity": signed.head.journal, "commit": at.commit_seq}
        out.document("sign", options.journal, {**document, "digest": at.digest.hex()})
    else:
        out.line(f"signed: commit {at.commit_seq}, digest {at.digest.hex()}")
    return Exit.WHOLE


def head_of(source: Source) -> Head:
    """Raises JournalDamaged where the chain doesn't hold, since a head vouches for every row before it; NoJournal for an
    archive without a row."""
    end = source.start
    try:
        for row in source.rows(end.commit_seq):
            gap = source.gap_after(end)
            end = extend(end if gap is None else gap.after, row)
    except (ValueError, TypeError) as error:
        raise JournalDamaged(source.place, str(error)) from error
    problems = source.problems()
    if problems or source.identity is None:
        raise JournalDamaged(source.place, problems[0] if problems else "it doesn't tell its identity")
    if source.alone and end == source.start:
        raise NoJournal(source.place)
    return Head(source.identity, end)
