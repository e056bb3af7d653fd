"""FUSE: operations, the primitives that their plans are made of, structures, INIT flags (include/uapi/linux/fuse.h)."""
