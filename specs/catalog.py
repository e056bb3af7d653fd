"""All tables by name: what a journal carries of the specs that wrote it."""

from specs.fuse.init_flags import INIT_FLAGS
from specs.fuse.opcodes import OPCODES
from specs.fuse.primitives import PRIMITIVES, REGISTERS
from specs.fuse.structs import FUSE_STRUCTS
from specs.fuse.witnesses import WITNESSES
from specs.limits import LIMITS
from specs.machines import MACHINES
from specs.recovery import RECOVERY
from specs.vhost.features import PROTOCOL_FEATURES, VIRTIO_FEATURES
from specs.vhost.messages import MESSAGES
from specs.vhost.structs import VHOST_STRUCTS
from specs.wording import WORDING

CATALOG = {
    "fuse_structs": FUSE_STRUCTS,
    "init_flags": INIT_FLAGS,
    "limits": LIMITS,
    "machines": MACHINES,
    "opcodes": OPCODES,
    "primitives": PRIMITIVES,
    "protocol_features": PROTOCOL_FEATURES,
    "recovery": RECOVERY,
    "registers": REGISTERS,
    "vhost_messages": MESSAGES,
    "vhost_structs": VHOST_STRUCTS,
    "virtio_features": VIRTIO_FEATURES,
    "witnesses": WITNESSES,
    "wording": WORDING,
}
