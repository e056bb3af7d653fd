"""Feature words: virtio device features (VIRTIO 1.3, 6) and vhost-user protocol features (vhost-user.rst)."""

from machine.rows import Flag

VIRTIO_FEATURES = (
    Flag("NOTIFY_ON_EMPTY", 24, False, "legacy only; EVENT_IDX does its work"),
    Flag("LOG_ALL", 26, False, "dirty logging comes with live migration"),
    Flag("INDIRECT_DESC", 28, True),
    Flag("EVENT_IDX", 29, True),
    Flag("PROTOCOL_FEATURES", 30, True),
    Flag("VERSION_1", 32, True),
    Flag("ACCESS_PLATFORM", 33, False, "needs an IOTLB; nobody runs virtio-fs behind a vIOMMU with vhost-user yet"),
    Flag("RING_PACKED", 34, False, "the recovery of split rings comes first"),
    Flag("IN_ORDER", 35, False, "reads overtake each other on purpose"),
    Flag("RING_RESET", 40, False, "QEMU resets a vring by stopping it"),
)

PROTOCOL_FEATURES = (
    Flag("MQ", 0, True),
    Flag("LOG_SHMFD", 1, False, "dirty logging comes with live migration"),
    Flag("RARP", 2, False, "network devices only"),
    Flag("REPLY_ACK", 3, True),
    Flag("MTU", 4, False, "network devices only"),
    Flag("BACKEND_REQ", 5, True),
    Flag("CROSS_ENDIAN", 6, False, "legacy devices only"),
    Flag("CRYPTO_SESSION", 7, False, "crypto devices only"),
    Flag("PAGEFAULT", 8, False, "forbidden together with CONFIGURE_MEM_SLOTS"),
    Flag("CONFIG", 9, True, "offered with --tag only: QEMU 7.1 to 8.0 crash while warning about it"),
    Flag("BACKEND_SEND_FD", 10, False, "nothing is sent to the front-end yet"),
    Flag("HOST_NOTIFIER", 11, False, "no hardware door-bells"),
    Flag("INFLIGHT_SHMFD", 12, True),
    Flag("RESET_DEVICE", 13, True),
    Flag("INBAND_NOTIFICATIONS", 14, False, "eventfds do it"),
    Flag("CONFIGURE_MEM_SLOTS", 15, True),
    Flag("STATUS", 16, True),
    Flag("XEN_MMAP", 17, False, "Xen only"),
    Flag("SHARED_OBJECT", 18, False, "graphics devices only"),
    Flag("DEVICE_STATE", 19, False, "comes with live migration"),
    Flag("GET_VRING_BASE_INFLIGHT", 20, False, "comes with live migration"),
    Flag("GPA_ADDRESSES", 21, False, "user addresses do"),
    Flag("SHMEM", 22, False, "comes with DAX"),
    Flag("GET_VRING_BASE_SKIP_DRAIN", 23, False, "comes with live migration"),
)
