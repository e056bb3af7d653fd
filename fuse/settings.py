"""What the operator chose, as the file side needs it."""

from dataclasses import dataclass
from typing import Literal

from specs.limits import LIMIT

NS_PER_S = 1_000_000_000

Cache = Literal["never", "metadata", "auto", "always"]
Handles = Literal["never", "prefer", "mandatory"]

_TIMEOUT_NS: dict[Cache, int] = {
    "never": 0,
    "auto": LIMIT["attr_timeout_auto_ns"],
    "metadata": LIMIT["attr_timeout_always_ns"],
    "always": LIMIT["attr_timeout_always_ns"],
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Meanings and defaults are virtiofsd's."""

    cache: Cache = "auto"
    writeback: bool = False
    xattr: bool = False
    readonly: bool = False
    allow_direct_io: bool = False
    inode_flags: bool = False
    """Whether the guest may set what Linux lets only privileged processes of the host set by ioctl(2)."""
    readdirplus: bool = True
    announce_submounts: bool = True
    handles: Handles = "prefer"
    handles_max: int = LIMIT["handles_max"]
    pool_threads: int = LIMIT["pool_threads_default"]

    @property
    def timeout_ns(self) -> int:
        """How long the guest may trust a name or attributes."""
        return _TIMEOUT_NS[self.cache]

    @property
    def wants_readdirplus(self) -> bool:
        """As virtiofsd: entries that may not be cached would be looked up again anyway."""
        return self.readdirplus and self.cache != "never"
