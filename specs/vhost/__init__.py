"""vhost-user as it is written down: messages, their structures, feature bits (docs/interop/vhost-user.rst of QEMU)."""
