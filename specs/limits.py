"""Every bound, its unit in its name, its reason beside it."""

from machine.rows import Limit

LIMITS = (
    Limit("request_queues_max", 16, "more queues than any host core count we test with only cost memory"),
    Limit("request_queues_offered", 4, "a 6.11 guest takes min(offered, its vCPUs); QEMU asks for one by default"),
    Limit("queue_size_max_descriptors", 1024, "QEMU's own bound for vhost-user-fs is 1024"),
    Limit("mem_slots_max", 509, "QEMU's default for vhost-user memory slots, as the Rust virtiofsd offers"),
    Limit("message_body_max_bytes", 4096, "the largest body that we take is a table of 8 regions, 264 bytes"),
    Limit("name_max_bytes", 255, "NAME_MAX of Linux"),
    Limit("symlink_target_max_bytes", 4095, "PATH_MAX without its NUL"),
    Limit("xattr_name_max_bytes", 255, "XATTR_NAME_MAX of Linux"),
    Limit("xattr_value_max_bytes", 65536, "XATTR_SIZE_MAX of Linux"),
    Limit("max_write_bytes", 1048576, "256 pages of 4 KiB: what a guest may send in one request"),
    Limit("max_pages_pages", 256, "max_write_bytes in pages of 4 KiB"),
    Limit("max_background_requests", 65535, "the queue bounds it; as the Rust virtiofsd answers"),
    Limit("congestion_threshold_requests", 49149, "three quarters of max_background_requests"),
    Limit("readdir_reply_max_bytes", 1048576, "no guest asks for more than max_write_bytes"),
    Limit("inodes_max", 16777216, "about 2 GiB of tables at 120 bytes each; a guest that holds more is hostile or mistaken"),
    Limit("handles_max", 1000000, "bounds the memory of the table; RLIMIT_NOFILE is mostly reached before"),
    Limit("fds_reserved", 720, "509 memory slots, 112 at rest with 16 queues, 50 more in a recovery, 49 of unswept workers"),
    Limit("thread_fds_max", 2, "a thread's own at a time: an inode that isn't cached, and what it opens of it for a moment"),
    Limit("inode_fd_cache_max_fds", 16384, "descriptors kept for inodes that a file handle can find again"),
    Limit("batch_max_requests", 64, "how many stateful requests share one commit; bounds the wait of the first"),
    Limit("heads_max_bytes", 64 << 20, "of all requests that wait, whole; a thousand of the longest attributes, then ENOMEM"),
    Limit("forgets_max_per_request", 8192, "a batch as large as a request may be: 128 KiB of 16 bytes each"),
    Limit("fuse_minor_min", 27, "older guests than Linux 4.20 have no virtio-fs"),
    Limit("fuse_minor", 45, "the protocol whose structures these tables hold"),
    Limit("attr_timeout_auto_ns", 1000000000, "--cache auto: 1 s, as virtiofsd"),
    Limit("attr_timeout_always_ns", 86400000000000, "--cache always and metadata: a day, as virtiofsd"),
    Limit("poll_ns_max", 32000, "about twice a wake-up of 8 to 16 us; the guest pays for more with its own cores"),
    Limit("state_lane_spin_ns", 20000, "a sleeping interpreter needs as long to wake up; a guest that waits sends by then"),
    Limit("quarantine_deaths_max", 3, "a request that was being executed when so many workers died by a fault is answered EIO"),
    Limit("quarantine_kills_max", 48, "the same for SIGKILL from outside: a request causes that only by the host's memory"),
    Limit("faults_before_ready_max", 8, "workers in a row that can't even begin, by faults of their own: another won't either"),
    Limit("back_off_first_ms", 5, "the pause after the second death in a row; each further one is followed by twice the pause"),
    Limit("back_off_max_ms", 1000, "a worker costs some 20 ms of a processor: a fiftieth of it is borne for ever"),
    Limit("served_after_kill_ms", 10, "who kills from outside has his own pace; this one served when it was killed"),
    Limit("served_after_trouble_ms", 1000, "what lacks memory or fails by itself says ready first, and dies a little later"),
    Limit("word_taken_max_ms", 2000, "a spare takes its word within 1 ms, a stopped one never; doubled each time in a row"),
    Limit("spare_faults_max", 8, "spares in a row that failed while a worker serves: until it is dead there is no other"),
    Limit("pool_threads_max", 256, "virtiofsd has no bound; more threads than this only take memory"),
    Limit("pool_threads_default", 4, "enough to keep a disk busy while two cores serve the rings"),
)

LIMIT = {row.name: row.value for row in LIMITS}
"""By name, for whoever keeps one. C gets them from docs/generate.py as specs/native/limits.h."""
