"""What INIT negotiated."""

from dataclasses import dataclass

from specs.fuse.init_flags import INIT_FLAGS

BIT: dict[str, int] = {row.name: 1 << row.bit for row in INIT_FLAGS}


@dataclass(frozen=True, slots=True)
class Offer:
    """The outcome of a negotiation; with `again` no session begins: the guest asks anew in our major version."""

    major: int
    minor: int
    flags: int
    max_readahead: int
    again: bool = False

    def has(self, flag: str) -> bool:
        """Whether this flag of `specs.fuse.init_flags` is in force."""
        return bool(self.flags & BIT[flag])
