"""`python -m journal.audit summary DIR`, `verify DIR`, `archive DIR`, `sign DIR ...` and `verify-head DIR ...`."""

import sys
from pathlib import Path

from journal.audit.archive_commands import print_archive, print_head, sign_to
from journal.database.read import verify_chain
from journal.database.summary import print_summary
from journal.errors import JournalError

USAGE = """usage: python -m journal.audit {summary|verify} JOURNAL-DIR
       python -m journal.audit archive ARCHIVE-DIR
       python -m journal.audit sign DIR --key PRIVATE.pem --out HEAD.json
       python -m journal.audit verify-head DIR --head HEAD.json --public-key PUBLIC.pem"""

EXIT_DAMAGED = 1
EXIT_USAGE = 2
EXIT_UNREADABLE = 3


def main(arguments: list[str]) -> int:
    """0: whole; 1: damaged; 2: wrong usage; 3: there is no journal that could be read."""
    try:
        match arguments:
            case ["summary", directory]:
                whole = print_summary(Path(directory))
            case ["verify", directory]:
                whole = _verify(Path(directory))
            case ["archive", directory]:
                whole = print_archive(Path(directory))
            case ["sign", directory, "--key", key, "--out", out]:
                whole = sign_to(Path(directory), Path(key), Path(out))
            case ["verify-head", directory, "--head", head, "--public-key", key]:
                whole = print_head(Path(directory), Path(head), Path(key))
            case _:
                print(USAGE, file=sys.stderr)
                return EXIT_USAGE
        return 0 if whole else EXIT_DAMAGED
    except JournalError as error:
        print(f"journal: {error}", file=sys.stderr)
        return EXIT_UNREADABLE


def _verify(directory: Path) -> bool:
    found = verify_chain(directory)
    if found.whole:
        print(f"whole: commits {found.first_commit} to {found.last_commit}, last digest {found.digest.hex()}")
    else:
        print(f"damaged: {found.error}")
    return found.whole


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
