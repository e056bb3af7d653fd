"""FUSE_INIT: what the guest offers, what we take. Pure; the tables are `specs.fuse.init_flags` and `specs.limits`."""

from fuse.offer import BIT, Offer
from fuse.settings import Settings
from fuse.wire import CODECS, FUSE_INIT_IN_BYTES_BEFORE_7_36, INIT_OUT
from specs.fuse.init_flags import INIT_FLAGS
from specs.limits import LIMIT

FUSE_KERNEL_VERSION = 7
_OFFERED = sum(1 << row.bit for row in INIT_FLAGS if row.offered)
_LOW = 0xFFFF_FFFF
_INIT_IN = CODECS["fuse_init_in"]
_TIME_GRANULARITY_NS = 1


def parse_init(body: bytes) -> tuple[int, int, int, int] | None:
    """(major, minor, max_readahead, 64 flag bits) of a fuse_init_in of either length; None when it is too short."""
    if len(body) < FUSE_INIT_IN_BYTES_BEFORE_7_36:
        return None
    padded = body[: _INIT_IN.size].ljust(_INIT_IN.size, b"\0")
    major, minor, readahead, flags, flags2, _ = _INIT_IN.unpack(padded)
    if flags & BIT["INIT_EXT"] and len(body) >= _INIT_IN.size:
        flags |= flags2 << 32
    return major, minor, readahead, flags


def negotiate(major: int, minor: int, max_readahead: int, flags: int, settings: Settings) -> Offer | None:
    """What we answer. None: this guest is too old or speaks an older major version (EPROTO).

    A newer major gets our own major back and nothing else: it then sends INIT again (fuse.h, version negotiation).
    """
    if major < FUSE_KERNEL_VERSION or (major == FUSE_KERNEL_VERSION and minor < LIMIT["fuse_minor_min"]):
        return None
    if major > FUSE_KERNEL_VERSION:
        return Offer(FUSE_KERNEL_VERSION, LIMIT["fuse_minor"], 0, 0, again=True)
    wanted = _OFFERED
    if not settings.wants_readdirplus:
        wanted &= ~(BIT["DO_READDIRPLUS"] | BIT["READDIRPLUS_AUTO"])
    if not settings.writeback:
        wanted &= ~BIT["WRITEBACK_CACHE"]
    if not settings.announce_submounts:
        wanted &= ~BIT["SUBMOUNTS"]
    return Offer(FUSE_KERNEL_VERSION, min(minor, LIMIT["fuse_minor"]), flags & wanted, max_readahead)


def encode_init_out(offer: Offer) -> bytes:
    """fuse_init_out, 64 bytes: Linux since 7.23 takes the whole of it."""
    return INIT_OUT.pack(
        offer.major,
        offer.minor,
        offer.max_readahead,
        offer.flags & _LOW,
        LIMIT["max_background_requests"],
        LIMIT["congestion_threshold_requests"],
        LIMIT["max_write_bytes"],
        _TIME_GRANULARITY_NS,
        LIMIT["max_pages_pages"],
        0,
        offer.flags >> 32,
        0,
        0,
        bytes(22),
    )
