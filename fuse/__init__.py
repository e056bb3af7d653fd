"""FUSE as virtio-fs speaks it: wire structures, tables of inodes and handles, plans and their executor."""
