"""Exit codes of `steadfs-audit`; docs/audit.md tells them."""

from enum import IntEnum


class Exit(IntEnum):
    """What a script needs to know."""

    WHOLE = 0
    """Nothing is wrong; for `diff`: no difference."""
    FINDINGS = 1
    """`verify` and `report`: something is wrong; `diff`: there are differences."""
    UNREADABLE = 2
    """There is no journal, or none that could be read; or the output could not be written."""
    USAGE = 3
    """The command line makes no sense, or names a position or a file that the journal does not have."""
    KEY = 4
    """A key or the file of a signed head is no use: not there, not of this form."""
    SIGNATURE = 5
    """A signed head's signature is not that key's: trust neither, nothing was verified."""
    NO_CRYPTOGRAPHY = 6
    """Signed heads need the package `cryptography`, and it isn't installed."""


class UsageError(Exception):
    """Asked for what there isn't; `str()` is one line with the remedy."""
