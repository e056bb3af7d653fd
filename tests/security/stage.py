"""What lies round a captured worker: things outside of its share that it must not reach, each with a way to tell if it did."""

import ctypes
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.play.daemons import rust_start

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
VICTIM_WORD = "untouched"
_AT_SYMLINK_FOLLOW = 0x400
_HANDLE_BYTES_MAX = 128
_VICTIM = """
import ctypes, os, sys
word = ctypes.create_string_buffer(sys.argv[2].encode(), 64)
fd = os.open(sys.argv[1], os.O_RDONLY)
print(ctypes.addressof(word), fd, flush=True)
sys.stdin.read()
"""

_libc = ctypes.CDLL(None, use_errno=True)


class Victim:
    """A process of the same user that has nothing to do with the daemon. `word_at`: an address of its memory with VICTIM_WORD;
    `fd`: its descriptor of the secret."""

    def __init__(self, secret: Path, words: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(
            [*words, sys.executable, "-S", "-c", _VICTIM, str(secret), VICTIM_WORD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.word_at, self.fd = (int(word) for word in self._process.stdout.readline().split())
        self.pid = self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def word(self) -> str:
        """What stands at `word_at` now."""
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(self.word_at)
            return memory.read(len(VICTIM_WORD)).decode()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def file_handle(path: Path) -> bytes:
    """A struct file_handle of it: name_to_handle_at(2). Raises OSError."""
    handle = (ctypes.c_uint32 * (2 + _HANDLE_BYTES_MAX // 4))(_HANDLE_BYTES_MAX)
    mount = ctypes.c_int()
    if _libc.name_to_handle_at(-100, os.fsencode(path), handle, ctypes.byref(mount), _AT_SYMLINK_FOLLOW) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return bytes(handle)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one daemon runs: `share`, its socket's directory `state`, both below `disk` and `memory` of the test."""

    disk: Path
    memory: Path

    @property
    def share(self) -> Path:
        return self.disk / "share"

    @property
    def state(self) -> Path:
        return self.memory / "state"

    @property
    def secret(self) -> Path:
        """A file beside the share."""
        return self.disk / "secret"

    @property
    def secret_in_memory(self) -> Path:
        """A file on the file system of the journal, and not in its directory."""
        return self.memory / "secret"

    @property
    def beside_socket(self) -> Path:
        return self.state / "beside"

    @property
    def key(self) -> Path:
        """The sealing key, in a directory of its own; the seals lie beside it."""
        return self.disk / "keys" / "key"

    @property
    def seals(self) -> Path:
        return self.key.with_name("key.seals")

    def listens(self) -> bool:
        """Whether there is a listening socket, by the kernel's table: a connection made to find out would be a VMM's."""
        lines = Path("/proc/net/unix").read_text().splitlines()
        return any(line.split()[3] == "00010000" and line.endswith(f" {self.state}/socket") for line in lines)

    def make(self, owner: int) -> None:
        """All of it, so that `owner` could use it if it were not confined."""
        for directory in (self.share, self.state, self.share / "folder", self.key.parent):
            directory.mkdir(parents=True)
            directory.chmod(0o755)
        for file in (self.secret, self.secret_in_memory, self.beside_socket):
            file.write_text(secrets.token_hex())
            file.chmod(0o600)
        for path in (*self.disk.rglob("*"), *self.memory.rglob("*"), self.disk, self.memory):
            os.chown(path, owner, owner)
        for path in (self.disk, self.memory, *(path for path in self.disk.parents if "pytest" in str(path))):
            path.chmod(0o755)
        self.key.parent.chmod(0o700)


class Stage:
    """Owns the victim and the sockets; `place` is made before, and its owner's."""

    def __init__(self, place: Place, unprivileged: bool) -> None:
        self.place = place
        self.as_user = AS_NOBODY if unprivileged else ()
        self.victim = Victim(place.secret, self.as_user)
        self.neighbour = self._listen(socket.AF_UNIX, str(place.state / "neighbour"))
        self.abstract_name = f"\0steadfs-attacked-{os.getpid()}"
        self.abstract = self._listen(socket.AF_UNIX, self.abstract_name)
        self.loopback = self._listen(socket.AF_INET, ("127.0.0.1", 0))
        os.chmod(place.state / "neighbour", 0o777)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.victim.close()
        for one in (self.neighbour, self.abstract, self.loopback):
            one.close()

    def mended(self) -> None:
        """After an attack: what it has harmed is made anew."""
        if not self.victim.alive() or self.victim.word() != VICTIM_WORD:
            self.victim.close()
            self.victim = Victim(self.place.secret, self.as_user)

    @staticmethod
    def _listen(family: int, address: Any) -> socket.socket:
        one = socket.socket(family)
        one.bind(address)
        one.listen(64)
        one.setblocking(False)
        return one


def came(listener: socket.socket) -> bool:
    """Whether somebody has connected."""
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def soon(what: Callable[[], Any], seconds: float = 2.0) -> bool:
    """Whether it comes true within that time."""
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def rust_version(tree: Path) -> str | None:
    """Of the Rust virtiofsd that was unpacked there; None: there is none."""
    start = rust_start(tree)
    if start is None:
        return None
    told = subprocess.run([*start, "--version"], capture_output=True, text=True, check=False, timeout=20)
    return told.stdout.split()[-1] if told.returncode == 0 else None
