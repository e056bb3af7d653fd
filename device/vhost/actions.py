"""What the session asks of whoever drives it, in order; each is performed before the session goes on.

An action raises nothing but PeerError and OSError when it can't be performed; then it has changed nothing. All fds
stay the session's: it names them and asks for their closing.
"""

from dataclasses import dataclass

from machine.fold import Transition


@dataclass(frozen=True, slots=True)
class MemoryRegion:
    """One region of guest memory, fields as in the message; `fd` is open."""

    guest_address: int
    size: int
    user_address: int
    mmap_offset: int
    fd: int


@dataclass(frozen=True, slots=True)
class PauseVring:
    """Stop serving the vring, drain it. Answers with its next avail index (int). `gone`: nobody will look at the replies."""

    index: int
    gone: bool = False


@dataclass(frozen=True, slots=True)
class ResumeVring:
    """Serve a paused vring again as it was: what made us pause it has failed."""

    index: int


@dataclass(frozen=True, slots=True)
class StartVring:
    """Configure and serve the vring; addresses are the front-end's (user addresses)."""

    index: int
    num: int
    descriptor: int
    available: int
    used: int
    base: int
    event_idx: bool
    indirect: bool


@dataclass(frozen=True, slots=True)
class SetMemory:
    """Replace the whole table of regions. No vring is served while it happens."""

    regions: tuple[MemoryRegion, ...]


@dataclass(frozen=True, slots=True)
class AddMemory:
    """Add one region. No vring is served while it happens."""

    region: MemoryRegion


@dataclass(frozen=True, slots=True)
class RemoveMemory:
    """Remove one region. No vring is served while it happens."""

    region: MemoryRegion


@dataclass(frozen=True, slots=True)
class SetKick:
    """Use another kick fd, or none."""

    index: int
    fd: int | None


@dataclass(frozen=True, slots=True)
class SetCall:
    """Use another call fd, or none."""

    index: int
    fd: int | None


@dataclass(frozen=True, slots=True)
class SetErr:
    """Use another err fd, or none."""

    index: int
    fd: int | None


@dataclass(frozen=True, slots=True)
class MakeInflight:
    """Make a zeroed region for in-flight tracking, on tmpfs. Answers with its fd (int)."""

    size: int


@dataclass(frozen=True, slots=True)
class SetInflight:
    """Track requests in this region from each vring's next start."""

    fd: int
    size: int
    offset: int
    queues: int
    queue_size: int


@dataclass(frozen=True, slots=True)
class EndSession:
    """The FUSE session ends, as after a reset; no vring is served while it happens."""

    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """Commit these transitions to the journal."""

    transitions: tuple[Transition, ...]


@dataclass(frozen=True, slots=True)
class CloseFds:
    """Close these; nobody uses them any more."""

    fds: tuple[int, ...]


Action = (
    PauseVring
    | ResumeVring
    | StartVring
    | SetMemory
    | AddMemory
    | RemoveMemory
    | SetKick
    | SetCall
    | SetErr
    | MakeInflight
    | SetInflight
    | EndSession
    | Record
    | CloseFds
)
