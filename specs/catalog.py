"""All tables by name: what a journal carries of the specs that wrote it."""

from specs.fuse_structs import FUSE_STRUCTS
from specs.init_flags import INIT_FLAGS
from specs.limits import LIMITS
from specs.machines import MACHINES
from specs.opcodes import OPCODES
from specs.primitives import PRIMITIVES
from specs.recovery import RECOVERY
from specs.vhost_features import PROTOCOL_FEATURES, VIRTIO_FEATURES
from specs.vhost_messages import MESSAGES
from specs.vhost_structs import VHOST_STRUCTS

CATALOG = {
    "fuse_structs": FUSE_STRUCTS,
    "init_flags": INIT_FLAGS,
    "limits": LIMITS,
    "machines": MACHINES,
    "opcodes": OPCODES,
    "primitives": PRIMITIVES,
    "protocol_features": PROTOCOL_FEATURES,
    "recovery": RECOVERY,
    "vhost_messages": MESSAGES,
    "vhost_structs": VHOST_STRUCTS,
    "virtio_features": VIRTIO_FEATURES,
}
