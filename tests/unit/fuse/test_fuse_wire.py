"""The FUSE tables against the C compiler: sizes, offsets and numbers are those of the kernel's header.

The header of the build machine may be older than our tables; what it doesn't know yet is compared with the declarations
that our C code is compiled with (fuse/native/host/fuse_wire.h).
"""

import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuse import wire
from machine.rows import Struct
from specs.fuse.init_flags import INIT_FLAGS
from specs.fuse.opcodes import OPCODES
from specs.fuse.structs import FUSE_STRUCTS
from tests.play import fuse_wire as player

ROOT = Path(__file__).resolve().parents[3]
KERNEL_HEADER = Path("/usr/include/linux/fuse.h")
OURS = ROOT / "fuse" / "native" / "host" / "fuse_wire.h"
HEADER_LINES = {"kernel": "#include <linux/fuse.h>", "ours": '#include "fuse/native/host/fuse_wire.h"'}
PREFIX = {"kernel": "fuse_", "ours": "wire_"}
RENAMED = {"fuse_open_out": {"backing_id"}, "fuse_init_out": {"max_stack_depth", "request_timeout"}}
"""Fields that newer headers carve out of padding: an older one has `padding` or `unused` there."""


def declared(header: str) -> dict[str, dict[str, tuple[int, int]]]:
    """Structure -> field -> (offset, bytes), as the compiler lays it out; "" stands for the whole. Names as in our tables."""
    lines = ["#include <stddef.h>", "#include <stdint.h>", "#include <stdio.h>", HEADER_LINES[header], "int main(void) {"]
    source = (KERNEL_HEADER if header == "kernel" else OURS).read_text()
    for name, body in re.findall(r"^struct (\w+) \{\n(.*?)^\};", source, re.DOTALL | re.MULTILINE):
        lines.append(f'printf("{name} - 0 %zu\\n", sizeof(struct {name}));')
        for field, array in re.findall(r"^\s+[\w ]+?\s+(\w+)(\[\w*\])?;", body, re.MULTILINE):
            if array != "[]":
                size = f"sizeof(((struct {name} *)0)->{field})"
                lines.append(f'printf("{name} {field} %zu %zu\\n", offsetof(struct {name}, {field}), {size});')
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for line in compiled("\n".join([*lines, "}"])).splitlines():
        name, field, offset, size = line.split()
        ours = "fuse_" + name.removeprefix(PREFIX[header])
        found.setdefault(ours, {})["" if field == "-" else field] = int(offset), int(size)
    return found


def compiled(source: str) -> str:
    """What a C program prints."""
    with tempfile.TemporaryDirectory() as place:
        program = Path(place) / "program"
        command = ["cc", "-std=gnu11", "-Wall", "-Werror", "-I", str(ROOT), "-x", "c", "-", "-o", str(program)]
        subprocess.run(command, input=source, text=True, check=True, timeout=60)
        return subprocess.run([program], capture_output=True, text=True, check=True, timeout=10).stdout


def laid_out(row: Struct) -> dict[str, tuple[int, int]]:
    """The same of a row of our tables."""
    at = 0
    found = {}
    for name, code in row.fields:
        size = struct.calcsize("=" + code)
        found[name] = at, size
        at += size
    return {"": (0, at), **found}


@pytest.fixture(scope="module", params=["kernel", "ours"])
def layouts(request: pytest.FixtureRequest) -> tuple[str, dict[str, dict[str, tuple[int, int]]]]:
    return request.param, declared(request.param)


NEWER_THAN_THE_KERNEL_HEADER = {"fuse_supp_groups"}
"""Came with 7.38 (u32 nr_groups, u32 groups[]); the header may be older, and only Python reads it."""

TABLES = {row.name: row for row in FUSE_STRUCTS}


def test_structures_are_laid_out_as_the_compiler_does_it(
    layouts: tuple[str, dict[str, dict[str, tuple[int, int]]]],
) -> None:
    header, found = layouts
    compared = 0
    for name, theirs in found.items():
        if name not in TABLES:
            continue
        ours = laid_out(TABLES[name])
        assert ours[""] == theirs[""], f"size of {name}"
        for field in ours.keys() & theirs.keys() - {"unused", "padding"}:
            assert ours[field] == theirs[field], f"{name}.{field}"
        missing = {field for field in ours.keys() - theirs.keys() if not re.match("padding|dummy|unused|spare|reserved", field)}
        assert missing <= RENAMED.get(name, set()), f"{name}: {missing} are not in the header"
        compared += 1
    assert compared >= {"kernel": 40, "ours": 20}[header]


def test_every_structure_is_compared_with_some_header() -> None:
    known = declared("kernel").keys() | declared("ours").keys()
    assert TABLES.keys() - known <= NEWER_THAN_THE_KERNEL_HEADER


def numbers(pattern: str) -> Iterator[tuple[str, int]]:
    """(name, value) of the kernel header's constants that match."""
    names = sorted(set(re.findall(rf"\b({pattern})\b(?=\s*=|\s+\(|\s+\d)", KERNEL_HEADER.read_text())))
    lines = ["#include <stdio.h>", HEADER_LINES["kernel"], "int main(void) {"]
    lines += [f'printf("{name} %llu\\n", ({name}) & ~0ULL >> (sizeof({name}) == 4 ? 32 : 0));' for name in names]
    for line in compiled("\n".join([*lines, "}"])).splitlines():
        name, value = line.split()
        yield name, int(value)


def test_opcodes_have_the_numbers_of_the_kernel() -> None:
    source = KERNEL_HEADER.read_text()
    body = re.search(r"enum fuse_opcode \{(.*?)\};", source, re.DOTALL)
    assert body is not None
    theirs = {name: int(value) for name, value in re.findall(r"FUSE_(\w+)\s*=\s*(\d+)", body[1])}
    del theirs["INIT_BSWAP_RESERVED"]  # INIT as a guest of the other endianness sends it; VIRTIO 1 is little-endian
    theirs["CUSE_INIT"] = int(re.search(r"CUSE_INIT\s*=\s*(\d+)", body[1])[1])  # type: ignore[index]
    ours = {row.name: row.code for row in OPCODES}
    assert len(theirs) > 45
    assert {name: ours.get(name) for name in theirs} == theirs
    assert {op.name: op.value for op in player.Op} == {name: code for name, code in ours.items() if name != "CUSE_INIT"}


def test_init_flags_have_the_bits_of_the_kernel() -> None:
    text = KERNEL_HEADER.read_text()
    block = text[text.index("INIT request/reply flags") : text.index("CUSE INIT request/reply flags")]
    documented = set(re.findall(r"^ \* (FUSE_\w+):", block, re.MULTILINE))
    ours = {f"FUSE_{row.name}": 1 << row.bit for row in INIT_FLAGS}
    theirs = {name: value for name, value in numbers(r"FUSE_[A-Z0-9_]+") if name in documented}
    assert len(theirs) > 30
    for name, value in theirs.items():
        assert ours[name] == value, name
    assert all(ours[f"FUSE_{flag.name}"] == flag.value for flag in player.Init)


def test_other_constants_are_those_of_the_kernel() -> None:
    theirs = dict(numbers(r"(?:FATTR|FOPEN|FUSE)_[A-Z0-9_]+"))
    ours = {name: value for name, value in vars(wire).items() if re.match("(FATTR|FOPEN|FUSE)_", name)}
    compared = {name: value for name, value in ours.items() if name in theirs}
    assert len(compared) > 15
    assert compared == {name: theirs[name] for name in compared}


def test_the_codecs_are_as_long_as_their_structures() -> None:
    for row in FUSE_STRUCTS:
        assert wire.CODECS[row.name].size == laid_out(row)[""][1]
        assert wire.FIELDS[row.name] == tuple(field for field, _ in row.fields)
