"""Which system calls each process of the daemon may make: a row per use. The filters (device/confine/) are made of them.

What has no row is refused. A new call that the code makes needs a row here: tests run with filters that kill.
"""
