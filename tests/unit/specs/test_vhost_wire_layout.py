"""The tables of vhost-user bodies against the C compiler: the kernel's structures where it has them, else the specification's
written as C (vhost-user.rst, "Message Specification": native endian, packed)."""

import struct
import subprocess
from pathlib import Path

from specs.vhost.structs import HEADER, VHOST_STRUCTS

SOURCE = """
#include <linux/vhost_types.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
struct header { uint32_t request, flags, size; } __attribute__((packed));
struct config { uint32_t offset, size, flags; uint8_t payload[]; } __attribute__((packed));
struct inflight { uint64_t mmap_size, mmap_offset; uint16_t num_queues, queue_size; } __attribute__((packed));
struct mem_table { uint32_t num_regions, padding; struct vhost_memory_region regions[]; } __attribute__((packed));
struct single_region { uint64_t padding; struct vhost_memory_region region; } __attribute__((packed));
struct device_state { uint32_t direction, phase; } __attribute__((packed));
#define SHOW(ours, type, field, name) \\
    printf(ours " " name " %zu %zu\\n", offsetof(struct type, field), sizeof(((struct type *)0)->field))
int main(void) {
"""
FIELDS = {
    "vhost_user_header": ("header", {}),
    "vring_state": ("vhost_vring_state", {}),
    "vring_addr": (
        "vhost_vring_addr",
        {"descriptor": "desc_user_addr", "used": "used_user_addr", "available": "avail_user_addr", "log": "log_guest_addr"},
    ),
    "region": (
        "vhost_memory_region",
        # vhost-user.rst has the offset into the descriptor where the kernel's ioctl has flags.
        {
            "guest_address": "guest_phys_addr",
            "size": "memory_size",
            "user_address": "userspace_addr",
            "mmap_offset": "flags_padding",
        },
    ),
    "mem_table": ("mem_table", {}),
    "single_region": ("single_region", {}),
    "config": ("config", {}),
    "inflight": ("inflight", {}),
    "device_state": ("device_state", {}),
}
WITHOUT_FIELDS = {"none", "opaque", "u64"}


def test_bodies_are_laid_out_as_the_compiler_does_it(tmp_path: Path) -> None:
    rows = {row.name: row for row in (HEADER, *VHOST_STRUCTS)}
    assert rows.keys() - FIELDS.keys() == WITHOUT_FIELDS, "a new body needs its C structure here"
    lines, ours = [SOURCE], []
    for name, (structure, renamed) in FIELDS.items():
        at = 0
        for field, code in rows[name].fields:
            size = struct.calcsize("=" + code)
            ours.append(f"{name} {field} {at} {size}")
            lines.append(f'SHOW("{name}", {structure}, {renamed.get(field, field)}, "{field}");')
            at += size
    program = tmp_path / "program"
    command = ["cc", "-std=gnu11", "-Wall", "-Werror", "-x", "c", "-", "-o", str(program)]
    subprocess.run(command, input="\n".join([*lines, "}"]), text=True, check=True, timeout=60)
    assert subprocess.run([program], capture_output=True, text=True, check=True, timeout=10).stdout.splitlines() == ours
