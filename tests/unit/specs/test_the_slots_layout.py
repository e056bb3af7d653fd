"""specs/slots.py is the layout that the C compiler makes of device/native/slots/slots.h."""

import struct
import subprocess

from specs import slots as layout
from tests.play.daemons import ROOT as REPOSITORY


def claims() -> list[str]:
    found = [f"SLOTS_MAGIC == {layout.MAGIC:#x}", f"SLOTS_VERSION == {layout.VERSION}"]
    for spec in (layout.HEADER, layout.SLOT):
        codes = [code for _, code in spec.fields]
        found.append(f"sizeof(struct {spec.name}) == {struct.calcsize('<' + ''.join(codes))}")
        for index, (name, code) in enumerate(spec.fields):
            found.append(f"offsetof(struct {spec.name}, {name}) == {struct.calcsize('<' + ''.join(codes[:index]))}")
            found.append(f"sizeof(((struct {spec.name} *)0)->{name}) == {struct.calcsize('<' + code)}")
    found += [f"SLOT_{phase.upper()} == {number}" for number, phase in enumerate(layout.PHASES)]
    return found


def compiles(claimed: list[str]) -> bool:
    program = '#include "device/native/slots/slots.h"\n' + "".join(f'_Static_assert({claim}, "");\n' for claim in claimed)
    words = ["cc", "-fsyntax-only", f"-I{REPOSITORY}", "-xc", "-"]
    return subprocess.run(words, input=program, text=True, capture_output=True, timeout=60, check=False).returncode == 0


def test_the_compiler_agrees_with_every_row() -> None:
    assert compiles(claims())


def test_it_does_not_agree_with_another_layout() -> None:
    assert not compiles(["offsetof(struct slot, epoch) == 16"])
