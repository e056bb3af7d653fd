"""`python -m journal summary DIR` and `python -m journal verify DIR`."""

import sys
from pathlib import Path

from journal.errors import JournalError
from journal.read import verify_chain
from journal.summary import print_summary

USAGE = "usage: python -m journal {summary|verify} JOURNAL-DIR"

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
