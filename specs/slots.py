"""The file `slots`: where the life of each request (specs/request.py) stands, one slot for each (queue, descriptor head).

A slot survives the process that wrote it, and may be found half-written. So a step stores its fields first and `state` last,
in one store, and `state` carries a check over the fields that count in its phase. These rows are the layout for every
reader: the device's C (device/native/slots/slots.h, which a test compares with them), the device's Python, and auditors, who
read a copy of the file on any machine. Little endian, as the machines are that steadfs runs on.
"""

from machine.rows import Struct
from specs.request import REQUEST

MAGIC = 0x3153544F4C535453
"""The bytes "STSLOTS1" """

VERSION = 1

HEADER = Struct(
    "slots_header",
    (
        ("magic", "Q"),
        ("version", "I"),
        ("slot_bytes", "I"),
        ("queues", "I"),
        ("slots_per_queue", "I"),
        ("generation", "Q"),
        ("reserved", "96s"),
    ),
    "as long as a slot, which it stands before",
)

SLOT = Struct(
    "slot",
    (
        ("state", "Q"),
        ("epoch", "Q"),
        ("unique", "Q"),
        ("counter", "Q"),
        ("opcode", "I"),
        ("queue", "H"),
        ("head", "H"),
        ("witness", "48s"),
        ("result", "i"),
        ("result_bytes", "I"),
        ("used_at", "H"),
        ("reserved", "30s"),
    ),
    "two cache lines",
)


# The parts of `state`, from the lowest bit on. The check is the upper half.
PHASE_MASK = 0xFF
HAS_WITNESS = 0x100
ATTEMPTS_LOWEST, ATTEMPTS_MASK = 16, 0xFFFF
"""How many workers died while they executed the request."""
CHECK_LOWEST = 32

PHASES = REQUEST.states
"""By their number."""

CHECKED_FROM = {"result": "executed", "result_bytes": "executed", "used_at": "published"}
"""The phase from which a field counts, and is covered by the check. `witness` counts where its bit says so, others always."""
