"""A virtual machine to test with: kernel, initramfs, QEMU, and the programs that run inside."""
