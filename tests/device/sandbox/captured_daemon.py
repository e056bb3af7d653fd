"""steadfsd as installed, but its workers do what a captured worker would try, once they have settled, and write down what came
of it.

`python -m tests.device.sandbox.captured_daemon NOTES WHERE -- OPTIONS`. WHERE is JSON: what the attempts need to know of
outside. In NOTES there is a line of JSON for each worker: the name of each attempt, and "done" or the error that stopped it.
"""

import ctypes
import errno
import json
import os
import platform
import socket
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from device.sandbox.place import Place, Sandbox
from tests.play.daemons import Kind

_libc = ctypes.CDLL(None, use_errno=True)
_NAME_TO_HANDLE_AT = {"x86_64": 303, "aarch64": 264}[platform.machine()]
_OPEN_BY_HANDLE_AT = {"x86_64": 304, "aarch64": 265}[platform.machine()]
_HANDLE_BYTES_MAX = 128
_AT_FDCWD = -100
_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x00020000
_CLIMB = "../" * 12


def captured(notes: Path, where: dict[str, Any]) -> Kind:
    """How the daemon is started; see above."""
    start = (sys.executable, "-m", "tests.device.sandbox.captured_daemon", str(notes), json.dumps(where), "--")
    return Kind(
        "steadfs with captured workers",
        lambda sock, share, state: [
            *(*start, "--socket-path", str(sock), "--shared-dir", str(share), "--journal-dir", str(state / "journal"))
        ],
    )


def handle_of(path: Path) -> str:
    """The file's handle, type and bytes, in hexadecimal digits. Raises OSError."""
    handle = ctypes.create_string_buffer(struct.pack("=Ii", _HANDLE_BYTES_MAX, 0), 8 + _HANDLE_BYTES_MAX)
    mount = ctypes.c_int()
    _call(_NAME_TO_HANDLE_AT, _AT_FDCWD, os.fsencode(path), handle, ctypes.byref(mount), 0)
    (size,) = struct.unpack_from("=I", handle)
    return handle.raw[: 8 + size].hex()


def _call(number: int, *arguments: Any) -> int:
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _in_a_child(attempt: Callable[[], None]) -> None:
    """Which tells the error by its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or errno.EIO)
    if number := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise OSError(number, os.strerror(number))


class Attempts:
    """Each public method raises the OSError that stopped it, or returns."""

    def __init__(self, place: Place, where: dict[str, Any]) -> None:
        self._place = place
        self._where = where

    def read_a_file_of_the_host_by_its_path(self) -> None:
        Path(self._where["outside"]).read_bytes()

    def read_it_by_climbing_from_the_journal(self) -> None:
        fd = os.open(self._place.journal, os.O_PATH)
        os.read(os.open(_CLIMB + self._where["outside"].lstrip("/"), os.O_RDONLY, dir_fd=fd), 1)

    def read_it_by_climbing_from_the_share(self) -> None:
        fd = os.open(self._place.share, os.O_PATH)
        os.read(os.open(_CLIMB + self._where["outside"].lstrip("/"), os.O_RDONLY, dir_fd=fd), 1)

    def read_it_by_its_handle(self) -> None:
        handle = ctypes.create_string_buffer(bytes.fromhex(self._where["handle"]))
        mount = os.open(self._place.share, os.O_RDONLY)
        os.read(_call(_OPEN_BY_HANDLE_AT, mount, handle, os.O_RDONLY), 1)

    def read_what_proc_tells_of_the_first_process(self) -> None:
        """From its own procfs up; the number is one of the host's."""
        os.close(os.open(f"../../{self._where['pid']}/environ", os.O_RDONLY, dir_fd=self._place.proc_fd))

    def signal_a_process_of_the_host(self) -> None:
        os.kill(self._where["pid"], 0)

    def execute_what_the_guest_has_made(self) -> None:
        path = self._place.share / "program"
        path.write_text("#!/bin/true\n")
        path.chmod(0o755)
        _in_a_child(lambda: os.execv(path, [str(path)]))

    def open_a_device_that_it_makes(self) -> None:
        path = self._place.share / "null"
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.close(os.open(path, os.O_RDWR))

    def mount_a_file_system(self) -> None:
        _checked(_libc.mount(b"none", os.fsencode(self._place.share), b"tmpfs", 0, None))

    def begin_with_all_rights_in_a_user_namespace(self) -> None:
        _in_a_child(lambda: _checked(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS)))

    def set_the_name_of_the_host(self) -> None:
        socket.sethostname(socket.gethostname())

    def leave_the_root(self) -> None:
        os.chroot(self._place.share)

    def listen_at_a_port(self) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))

    def talk_to_an_abstract_socket(self) -> None:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(b"\0" + self._where["abstract"].encode())

    def make_a_file_where_the_socket_is(self) -> None:
        os.close(os.open(f"{self._where['sockets']}/made", os.O_CREAT | os.O_WRONLY))

    def all(self) -> dict[str, str]:
        """What came of each."""
        told = {}
        for name in ATTEMPTS:
            try:
                getattr(self, name)()
                told[name] = "done"
            except OSError as error:
                told[name] = errno.errorcode[error.errno or 0]
        return told


ATTEMPTS = tuple(name for name in vars(Attempts) if not name.startswith("_") and name != "all")


def main(words: list[str]) -> int:
    """As steadfsd's."""
    at = words.index("--")
    notes = os.open(words[0], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    where = json.loads(words[1])
    settle: Callable[[Sandbox], Place] = Sandbox.settle

    def then_attack(sandbox: Sandbox) -> Place:
        place = settle(sandbox)
        os.write(notes, json.dumps(Attempts(place, where).all()).encode() + b"\n")
        return place

    setattr(Sandbox, "settle", then_attack)  # noqa: B010 - a method, for this test
    from device.commands.cli import main as steadfsd  # noqa: PLC0415

    return steadfsd(words[at + 1 :])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
