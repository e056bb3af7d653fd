"""Bodies of vhost-user messages (vhost-user.rst, "Message Specification"); native endian, no implicit padding."""

from machine.rows import Struct

HEADER = Struct("vhost_user_header", (("request", "I"), ("flags", "I"), ("size", "I")), "vhost-user.rst, Header")

VHOST_STRUCTS = (
    Struct("none", (), "messages without a body"),
    Struct("u64", (("value", "Q"),), "A single 64-bit integer"),
    Struct("vring_state", (("index", "I"), ("num", "I")), "A vring state description"),
    Struct(
        "vring_addr",
        (
            ("index", "I"),
            ("flags", "I"),
            ("descriptor", "Q"),
            ("used", "Q"),
            ("available", "Q"),
            ("log", "Q"),
        ),
        "A vring address description",
    ),
    Struct(
        "region",
        (("guest_address", "Q"), ("size", "Q"), ("user_address", "Q"), ("mmap_offset", "Q")),
        "Memory region description",
    ),
    Struct("mem_table", (("num_regions", "I"), ("padding", "I")), "Multiple Memory regions; regions follow"),
    Struct("single_region", (("padding", "Q"),), "Single memory region; one region follows"),
    Struct("config", (("offset", "I"), ("size", "I"), ("flags", "I")), "Virtio device config space; bytes follow"),
    Struct(
        "inflight",
        (("mmap_size", "Q"), ("mmap_offset", "Q"), ("num_queues", "H"), ("queue_size", "H")),
        "Inflight description",
    ),
    Struct("device_state", (("direction", "I"), ("phase", "I")), "Device state transfer parameters"),
    Struct("opaque", (), "the body of a message that is refused unread"),
)
