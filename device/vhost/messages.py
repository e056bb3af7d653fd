"""The message table by code, what we offer of it, and which gates an acknowledgement has opened."""

from dataclasses import dataclass

from machine.rows import Flag, Message
from specs.vhost.features import PROTOCOL_FEATURES, VIRTIO_FEATURES
from specs.vhost.messages import MESSAGES

BY_CODE = {row.code: row for row in MESSAGES}
BY_NAME = {row.name: row for row in MESSAGES}

_VIRTIO_BITS = {flag.name: 1 << flag.bit for flag in VIRTIO_FEATURES}
_PROTOCOL_BITS = {flag.name: 1 << flag.bit for flag in PROTOCOL_FEATURES}

EVENT_IDX = _VIRTIO_BITS["EVENT_IDX"]
INDIRECT_DESC = _VIRTIO_BITS["INDIRECT_DESC"]
F_PROTOCOL_FEATURES = _VIRTIO_BITS["PROTOCOL_FEATURES"]
REPLY_ACK = _PROTOCOL_BITS["REPLY_ACK"]
CONFIG = _PROTOCOL_BITS["CONFIG"]

TAG_BYTES = 36  # struct virtio_fs_config, include/uapi/linux/virtio_fs.h


@dataclass(frozen=True, slots=True)
class Offer:
    """What this device offers; `tag` (at most TAG_BYTES bytes) switches the config space on."""

    request_queues: int
    tag: bytes | None = None

    @property
    def queues(self) -> int:
        """Vrings: hiprio and the request queues."""
        return 1 + self.request_queues

    @property
    def features(self) -> int:
        """The virtio feature word for GET_FEATURES."""
        return _offered(VIRTIO_FEATURES)

    @property
    def protocol_features(self) -> int:
        """The word for GET_PROTOCOL_FEATURES."""
        offered = _offered(PROTOCOL_FEATURES)
        return offered if self.tag is not None else offered & ~CONFIG

    @property
    def config_space(self) -> bytes:
        """struct virtio_fs_config: the tag padded with NULs, then num_request_queues, little endian."""
        tag = self.tag or b""
        return tag.ljust(TAG_BYTES, b"\0") + self.request_queues.to_bytes(4, "little")


def gate_is_open(row: Message, features: int, protocol_features: int) -> bool:
    """Whether the feature that the message needs has been acknowledged."""
    if not row.gate:
        return True
    if row.gate in _PROTOCOL_BITS:
        return bool(protocol_features & _PROTOCOL_BITS[row.gate])
    return bool(features & _VIRTIO_BITS[row.gate])


def _offered(flags: tuple[Flag, ...]) -> int:
    return sum(1 << flag.bit for flag in flags if flag.offered)
