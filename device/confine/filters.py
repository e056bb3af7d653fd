"""--seccomp: the filters of all roles, made once and taken where a role begins."""

import platform
from collections.abc import Iterable

from device.confine import kernel
from device.confine.program import REFUSED, Program, SeccompMode, compile_filter
from device.errors import OperatorError
from device.exits import Exit
from machine.system_calls import heirs, permitted
from specs.system_calls.numbers import NEWEST, NUMBERS
from specs.system_calls.roles import ROLES
from specs.system_calls.table import MISSING, SYSTEM_CALLS


class Filters:
    """Each method is called once by the process that takes that role, before it has threads of its own. `given`: the options
    that rows of the tables ask for. Raises OperatorError where the kernel has no filters."""

    def __init__(self, mode: SeccompMode, given: Iterable[str]) -> None:
        self._programs: dict[str, Program] = {}
        if mode == "none":
            return
        if not kernel.has_action(REFUSED[mode]):
            problem = f"{mode}: this kernel can't filter system calls; take one with CONFIG_SECCOMP_FILTER, or --seccomp=none"
            raise OperatorError("--seccomp", problem, Exit.SECCOMP)
        kernel.give_privileges_up()
        if mode == "trap":
            kernel.tell_what_is_trapped()
        options = tuple(given)
        wanted = heirs("guardian", ROLES, options) | ({"sealer"} if "--journal-seal-key" in options else set())
        self._programs = {
            role.name: program(role.name, options, REFUSED[mode]) for role in ROLES if role.filtered and role.name in wanted
        }

    def guardian(self) -> None:
        """Guardian, keeper, and all that is made from now on."""
        self._take("guardian")

    def worker(self) -> None:
        """A newborn that has settled."""
        self._take("worker")

    def archiver(self) -> None:
        """A worker's child that has closed all but its own."""
        self._take("archiver")

    def sealer(self) -> None:
        """Made before the others, and no heir of theirs."""
        self._take("sealer")

    def _take(self, role: str) -> None:
        if role in self._programs:
            kernel.take(self._programs[role])


def program(role: str, given: Iterable[str], refused: int, architecture: str = platform.machine()) -> Program:
    """A role's filter."""
    calls = permitted(role, ROLES, SYSTEM_CALLS, given)
    missing = [call.name for call in MISSING]
    return compile_filter(calls, missing, NUMBERS, NEWEST, architecture, refused)
