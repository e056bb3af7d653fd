"""All rows: what each role needs, and what it is told that there isn't."""

from machine.system_calls import SystemCall
from specs.system_calls.files import FILES
from specs.system_calls.interpreter import INTERPRETER
from specs.system_calls.processes import PROCESSES

SYSTEM_CALLS = (*INTERPRETER, *PROCESSES, *FILES)

MISSING = (
    SystemCall("clone3", ("guardian", "keeper", "newborn", "worker", "archiver"),
               "its flags lie in memory, where no filter sees them; who is answered ENOSYS calls clone", "clone(2)"),
)  # fmt: skip
"""Answered ENOSYS."""
