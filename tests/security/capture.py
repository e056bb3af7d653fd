"""A process held by ptrace(2) from outside: one of its threads makes whatever system calls an attacker would.

Nothing of the process is changed for it: the calls are made by the `syscall` instruction of its own vDSO, under its own filter,
credentials and namespaces. So the daemon that is shipped is attacked, and a peer's in the same way. For x86-64 only.
"""

import contextlib
import ctypes
import errno
import os
import signal
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.security.numbers import NUMBERS

# include/uapi/linux/ptrace.h
_GETREGS, _SETREGS, _SINGLESTEP, _DETACH, _GETEVENTMSG, _SEIZE, _INTERRUPT = 12, 13, 9, 17, 0x4201, 0x4206, 0x4207
_EVENT_EXEC = 4
_EVENTS_OF_CHILDREN = {1, 2, 3}  # fork, vfork, clone
_OPTIONS = sum(1 << event for event in (*_EVENTS_OF_CHILDREN, _EVENT_EXEC))
_WALL = 0x40000000
_SYSCALL = b"\x0f\x05"
_SECONDS = 5.0
_ROOM_BYTES = 1 << 16
_PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS = 3, 0x22

_libc = ctypes.CDLL(None, use_errno=True)


class Died(Exception):
    """The process is gone, or would be: `signal` killed it (0: it has ended by itself)."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.signal = number


class Stuck(Exception):
    """A call does not come back."""


class _Registers(ctypes.Structure):
    """struct user_regs_struct of x86-64."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"),
            *("orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
        )
    )


class Captive:
    """One thread of a process, `pid`, held while this is entered. `errno` is of the last call that failed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.errno = 0
        self.executed = False
        """Whether it has become another program: then it can be asked for nothing more."""
        self.children: list[int] = []
        """Processes that it has made, held where they begin."""
        self._room = self._next = 0
        self._saved = _Registers()
        self._mem = -1
        self._held = False

    def __enter__(self) -> Self:
        self._ptrace(_SEIZE, _OPTIONS)
        self._held = True
        self._ptrace(_INTERRUPT)
        self._wait()
        self._ptrace(_GETREGS, ctypes.byref(self._saved))
        self._mem = os.open(f"/proc/{self.pid}/mem", os.O_RDWR)
        self._instruction = self._find_instruction()
        self._room = self.call("mmap", 0, _ROOM_BYTES, _PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS, -1, 0)
        assert self._room > 0, os.strerror(self.errno)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Lets it go on as if nothing had been, if it still is."""
        try:
            self._kill_children()
            if self._held and not isinstance(error, Died | Stuck):
                if not self.executed:
                    self.call("munmap", self._room, _ROOM_BYTES)
                    self._ptrace(_SETREGS, ctypes.byref(self._saved))
                self._ptrace(_DETACH)
        except (Died, ProcessLookupError):
            pass  # somebody else has ended it
        finally:
            os.close(self._mem)

    def call(self, name: str, *arguments: int | bytes) -> int:
        """A system call; bytes are laid into its memory and their address is given. -1 and `errno` when it fails. Raises Died
        when the process does not survive it, Stuck when it takes seconds."""
        words = [self.put(word) if isinstance(word, bytes) else word for word in arguments]
        words += [0] * (6 - len(words))
        registers = _Registers.from_buffer_copy(self._saved)
        registers.rax, registers.orig_rax, registers.rip = NUMBERS[name], -1 & (1 << 64) - 1, self._instruction
        for register, word in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), words, strict=True):
            setattr(registers, register, word & (1 << 64) - 1)
        self._ptrace(_SETREGS, ctypes.byref(registers))
        self._step()
        if self.executed:
            return 0
        self._ptrace(_GETREGS, ctypes.byref(registers))
        result = ctypes.c_int64(registers.rax).value
        if -4096 < result < 0:
            self.errno = -result
            return -1
        return result

    def put(self, data: bytes) -> int:
        """Lays bytes and a NUL into the process's memory; their address, good for the next few calls."""
        if self._next + len(data) + 1 > _ROOM_BYTES // 2:
            self._next = 0
        at = self._room + self._next
        self._next += (len(data) + 8) & ~7
        os.pwrite(self._mem, data + b"\0", at)
        return at

    def pointers(self, *words: bytes) -> bytes:
        """An array of pointers to those bytes, with a null pointer at its end."""
        return struct.pack(f"{len(words) + 1}Q", *(self.put(word) for word in words), 0)

    def _kill_children(self) -> None:
        """They end as tracees of ours: until that is taken note of, a namespace with one of them in it can't end."""
        for child in self.children:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
                while os.WIFSTOPPED(os.waitpid(child, _WALL)[1]):
                    pass

    def release(self) -> None:
        """Lets go of a program that it has become."""
        self._ptrace(_DETACH)
        self._held = False

    @property
    def room(self) -> int:
        """The address of 32 KiB for what a call gives back; `taken` reads there."""
        return self._room + _ROOM_BYTES // 2

    def taken(self, size: int) -> bytes:
        """What a call has laid into `room`."""
        return os.pread(self._mem, size, self.room)

    def read(self, address: int, size: int) -> bytes:
        """Any of its memory."""
        return os.pread(self._mem, size, address)

    def write(self, address: int, data: bytes) -> None:
        """What an attacker stores there; also where the page is mapped to be written by it alone. Raises OSError."""
        assert os.pwrite(self._mem, data, address) == len(data)

    # ---- ptrace

    def _find_instruction(self) -> int:
        for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if "x" in rights and ("[vdso]" in line or "libc" in line):
                begin, end = (int(word, 16) for word in span.split("-"))
                at = os.pread(self._mem, end - begin, begin).find(_SYSCALL)
                if at >= 0:
                    return begin + at
        raise AssertionError("no system call instruction found")

    def _step(self) -> None:
        """Over one instruction, with all that the kernel tells on the way."""
        while True:
            self._ptrace(_SINGLESTEP)
            status = self._wait()
            number, event = os.WSTOPSIG(status), status >> 16
            if event in _EVENTS_OF_CHILDREN:
                child = ctypes.c_ulong()
                self._ptrace(_GETEVENTMSG, ctypes.byref(child))
                self.children.append(child.value)
            elif event == _EVENT_EXEC:
                self.executed = True
                return
            elif number == signal.SIGSYS:  # a filter that traps: nobody was meant to come back from there
                raise Died(signal.SIGSYS)
            elif number == signal.SIGTRAP and not event:
                return

    def _wait(self) -> int:
        """Its status, once it has stopped."""
        until = time.monotonic() + _SECONDS
        turns = 0
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG | _WALL)
            if pid:
                break
            turns += 1
            time.sleep(0.0005 if turns > 200 else 0)
            if time.monotonic() > until:
                raise Stuck
        if not os.WIFSTOPPED(status):
            raise Died(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
        return status

    def _ptrace(self, request: int, data: object = 0) -> None:
        word = ctypes.c_void_p(data) if isinstance(data, int) else data
        if _libc.ptrace(ctypes.c_long(request), ctypes.c_long(self.pid), None, word) < 0:
            number = ctypes.get_errno()
            if number == errno.ESRCH:
                self._gone()
            raise OSError(number, os.strerror(number))

    def _gone(self) -> None:
        """Killed while it was held."""
        self._wait()
        raise Died(signal.SIGKILL)
