"""Guest memory: the table of regions, by which every address of the guest and the VMM is translated."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from device._native import ffi, lib
from device.errors import PeerError
from device.rings.native import check


@dataclass(frozen=True, slots=True)
class Region:
    """One memory region as the VMM described it (vhost-user, "Memory region description"), `fd` is the caller's."""

    gpa: int
    size: int
    uva: int
    fd_offset: int
    fd: int


class GuestMemory:
    """Changes only while every vring is paused and nothing is in flight (CallerError otherwise)."""

    def __init__(self, native: Any) -> None:
        self.native = native

    def replace(self, regions: Sequence[Region]) -> None:
        """Replaces the whole table (SET_MEM_TABLE); on an error the old one stays."""
        array = ffi.new("struct memory_region_spec[]", max(1, len(regions)))
        for spec, region in zip(array, regions, strict=False):
            _fill(spec, region)
        check(lib.engine_memory_set(self.native, array, len(regions)), "memory table")

    def add(self, region: Region) -> None:
        """ADD_MEM_REG. PeerError: overlap, more than lib.MEMORY_REGIONS_MAX, file shorter than the region."""
        spec = ffi.new("struct memory_region_spec *")
        _fill(spec, region)
        check(lib.engine_memory_add(self.native, spec), "memory region")

    def remove(self, gpa: int, uva: int, size: int) -> None:
        """REM_MEM_REG: the region that matches in all three. PeerError if there is none."""
        code = lib.engine_memory_remove(self.native, gpa, uva, size)
        if code == -errno.ENOENT:
            raise PeerError("memory region to remove: no such region")
        check(code, "memory region to remove")


def _fill(spec: Any, region: Region) -> None:
    spec.gpa, spec.size, spec.uva = region.gpa, region.size, region.uva
    spec.fd_offset, spec.fd = region.fd_offset, region.fd
