"""The journal's limits, each with its reason. Sizes were measured at about 330 bytes per transition."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much history is kept, and how much work one step of `tidy` may do."""

    transitions_between_checkpoints: int = 250
    """A new worker verifies and applies at most about twice as many, at 5 to 10 us each (up to 20 in a fresh clone), while the
    guest waits: 250 instead of 500 saved 0.9 ms of 16, and cost LOOKUP at depth 16 a few per cent. What a round writes are the
    records that changed, each of them once."""

    bytes_between_checkpoints: int = 16 << 20
    """For transitions with long names or values: the same bound in bytes of bodies."""

    keys_per_step: int = 64
    """Records written per step: about 0.8 ms, the longest that a request should wait for the checkpoint."""

    transitions_trimmed_per_step: int = 128
    """Transitions counted and deleted per step: about 0.6 ms, 1 ms where their kinds were not told to `add`."""

    growth_factor: int = 2
    """A step does at least this times as much as was added since the step before, so that it can't fall behind."""

    wal_pages_between_writebacks: int = 64
    """256 KiB of WAL, copied into journal.db at once by the commit that fills it: 0.1 to 0.2 ms by estimate. A new worker reads
    all of it, 4 us a page, while the guest waits; half as many cost commits more."""

    pages_free_max: int = 6144
    """24 MiB, more than a checkpoint frees at a time: those pages are used again, only a burst's are given back."""

    pages_freed_per_step: int = 64
    """Pages given back per step: about 0.2 ms."""

    pages_max: int = 1 << 20
    """4 GiB: a journal that grows beyond it answers with JournalFull, before it eats all the memory of the host."""

    set_aside_max: int = 4
    """Journals of other specs that are kept beside ours; the oldest is removed first."""

    lives_max: int = 1000
    """How many lives of the daemon are remembered by time and pid; a crash loop must not fill the journal."""
