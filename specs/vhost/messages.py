"""One row per front-end message of vhost-user (vhost-user.rst, "Front-end message types").

A gate is the protocol feature that must have been acknowledged before. `PROTOCOL_FEATURES` is virtio feature bit 30.
"""

from machine.rows import Message

_NET = "for network devices"
_MIGRATION = "comes with live migration"

MESSAGES = (
    Message(1, "GET_FEATURES", "none", (0, 0), "", "u64", "connection"),
    Message(2, "SET_FEATURES", "u64", (0, 0), "", "none", "connection"),
    Message(3, "SET_OWNER", "none", (0, 0), "", "none", "connection"),
    Message(4, "RESET_OWNER", "none", (0, 0), "", "none", "connection", cite="deprecated: disables all rings"),
    Message(5, "SET_MEM_TABLE", "mem_table", (0, 8), "", "none", "connection"),
    Message(6, "SET_LOG_BASE", "opaque", (0, 1), "LOG_SHMFD", "u64", "none", _MIGRATION),
    Message(7, "SET_LOG_FD", "opaque", (0, 1), "LOG_SHMFD", "none", "none", _MIGRATION),
    Message(8, "SET_VRING_NUM", "vring_state", (0, 0), "", "none", "vring"),
    Message(9, "SET_VRING_ADDR", "vring_addr", (0, 0), "", "none", "vring"),
    Message(10, "SET_VRING_BASE", "vring_state", (0, 0), "", "none", "vring"),
    Message(11, "GET_VRING_BASE", "vring_state", (0, 0), "", "vring_state", "vring"),
    Message(12, "SET_VRING_KICK", "u64", (0, 1), "", "none", "vring"),
    Message(13, "SET_VRING_CALL", "u64", (0, 1), "", "none", "vring"),
    Message(14, "SET_VRING_ERR", "u64", (0, 1), "", "none", "vring"),
    Message(15, "GET_PROTOCOL_FEATURES", "none", (0, 0), "", "u64", "connection"),
    Message(16, "SET_PROTOCOL_FEATURES", "u64", (0, 0), "", "none", "connection"),
    Message(17, "GET_QUEUE_NUM", "none", (0, 0), "MQ", "u64", "connection"),
    Message(18, "SET_VRING_ENABLE", "vring_state", (0, 0), "PROTOCOL_FEATURES", "none", "vring"),
    Message(19, "SEND_RARP", "opaque", (0, 0), "RARP", "none", "none", _NET),
    Message(20, "NET_SET_MTU", "opaque", (0, 0), "MTU", "none", "none", _NET),
    Message(21, "SET_BACKEND_REQ_FD", "none", (1, 1), "BACKEND_REQ", "none", "connection"),
    Message(22, "IOTLB_MSG", "opaque", (0, 0), "", "u64", "none", "needs ACCESS_PLATFORM, which is not offered"),
    Message(23, "SET_VRING_ENDIAN", "opaque", (0, 0), "CROSS_ENDIAN", "none", "none", "for legacy devices"),
    Message(24, "GET_CONFIG", "config", (0, 0), "CONFIG", "config", "connection"),
    Message(25, "SET_CONFIG", "config", (0, 0), "CONFIG", "none", "connection"),
    Message(26, "CREATE_CRYPTO_SESSION", "opaque", (0, 0), "CRYPTO_SESSION", "none", "none", "for crypto devices"),
    Message(27, "CLOSE_CRYPTO_SESSION", "opaque", (0, 0), "CRYPTO_SESSION", "none", "none", "for crypto devices"),
    Message(28, "POSTCOPY_ADVISE", "opaque", (0, 0), "PAGEFAULT", "u64", "none", "excluded by CONFIGURE_MEM_SLOTS"),
    Message(29, "POSTCOPY_LISTEN", "opaque", (0, 0), "PAGEFAULT", "none", "none", "excluded by CONFIGURE_MEM_SLOTS"),
    Message(30, "POSTCOPY_END", "opaque", (0, 0), "PAGEFAULT", "u64", "none", "excluded by CONFIGURE_MEM_SLOTS"),
    Message(31, "GET_INFLIGHT_FD", "inflight", (0, 0), "INFLIGHT_SHMFD", "inflight_fd", "connection"),
    Message(32, "SET_INFLIGHT_FD", "inflight", (1, 1), "INFLIGHT_SHMFD", "none", "connection"),
    Message(33, "GPU_SET_SOCKET", "opaque", (0, 1), "", "none", "none", "for graphics devices"),
    Message(34, "RESET_DEVICE", "none", (0, 0), "RESET_DEVICE", "none", "connection"),
    Message(35, "VRING_KICK", "opaque", (0, 0), "INBAND_NOTIFICATIONS", "none", "none", "eventfds do it"),
    Message(36, "GET_MAX_MEM_SLOTS", "none", (0, 0), "CONFIGURE_MEM_SLOTS", "u64", "connection"),
    Message(37, "ADD_MEM_REG", "single_region", (1, 1), "CONFIGURE_MEM_SLOTS", "none", "connection"),
    Message(38, "REM_MEM_REG", "single_region", (0, 1), "CONFIGURE_MEM_SLOTS", "none", "connection"),
    Message(39, "SET_STATUS", "u64", (0, 0), "STATUS", "none", "connection"),
    Message(40, "GET_STATUS", "none", (0, 0), "STATUS", "u64", "connection"),
    Message(41, "GET_SHARED_OBJECT", "opaque", (0, 0), "SHARED_OBJECT", "u64", "none", "for graphics devices"),
    Message(42, "SET_DEVICE_STATE_FD", "opaque", (0, 1), "DEVICE_STATE", "u64", "none", _MIGRATION),
    Message(43, "CHECK_DEVICE_STATE", "none", (0, 0), "DEVICE_STATE", "u64", "none", _MIGRATION),
    Message(44, "GET_SHMEM_CONFIG", "none", (0, 0), "SHMEM", "shmem_config", "none", "comes with DAX"),
    Message(
        45, "GET_VRING_BASE_SKIP_DRAIN", "vring_state", (0, 0), "GET_VRING_BASE_SKIP_DRAIN", "vring_state", "none",
        _MIGRATION,
    ),
)
