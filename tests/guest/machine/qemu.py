"""A guest under QEMU (TCG, so it runs anywhere), driven over a virtio-serial port; every wait has a deadline."""

import dataclasses
import pathlib
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence

from tests.guest.machine.processes import DeadlineExceeded, start, stop, wait_until

HEADER = struct.Struct("<III")  # type, id, length; see programs/init.c
RUN, KILL, REBOOT, POWEROFF = 1, 2, 3, 4
STDOUT, STDERR, EXIT, HELLO = 1, 2, 3, 4
HELLO_MAGIC = b"steadfs guest is listening\n"
HELLO_FRAME = HEADER.pack(HELLO, 0, len(HELLO_MAGIC)) + HELLO_MAGIC
PORT_NAME = "steadfs.control"

BOOT_TIMEOUT_S = 90  # 4-5 s on an idle 2-core machine; CI machines may be loaded
# x86-64-v2 is enough; "max" boots a second later (5.4 s to 4.4 s), for TCG emulates AVX and XSAVE slowly. Without cx16, since
# QEMU 7.2's TCG gets cmpxchg16b wrong: the guest's allocator (SLUB) crashes within a minute, with one CPU as with two; without
# it the kernel uses its own fallback, and hundreds of process starts pass.
CPU_MODEL = "Nehalem,-cx16"
# nokaslr only matters for a compressed kernel. Mitigations and page-table isolation protect nothing here and cost TCG flushes.
KERNEL_OPTIONS = (
    "console=ttyS0 quiet loglevel=4 panic=-1 nokaslr mitigations=off nopti tsc=reliable no_timer_check "
    "random.trust_cpu=on cryptomgr.notests 8250.nr_uarts=1 nowatchdog audit=0"
)


def _processors(count: int) -> str:
    """QEMU's -smp. With one possible processor TCG leaves out the barriers that virtio needs, and a guest loses, rarely, an
    interrupt: so a second one is always possible."""
    return f"{count},maxcpus={max(2, count)}"


class GuestDied(Exception):
    """QEMU ended, or the guest stopped talking; the text carries the end of the console."""


@dataclasses.dataclass(frozen=True)
class FsDevice:
    """One vhost-user-fs-pci device: the daemon's socket and what the guest sees."""

    socket: pathlib.Path
    tag: str = "share"
    request_queues: int = 1
    queue_size: int = 128


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished command: exit status (128 + signal when killed) and what it wrote."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """stdout, decoded and stripped."""
        return self.stdout.decode(errors="backslashreplace").strip()


class CommandFailed(Exception):
    """A guest command that should have succeeded did not."""


class Command:
    """A command running in the guest; its output is collected while anything waits on the guest."""

    def __init__(self, guest: "Guest", number: int, script: str) -> None:
        self.number = number
        self.script = script
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.status: int | None = None
        self._guest = guest

    def wait(self, timeout_s: float = 60) -> Result:
        """Wait for the end. Raises DeadlineExceeded (the command is killed in the guest first) or GuestDied."""
        try:
            self._guest.pump_until(lambda: self.status is not None, timeout_s, f"guest command {self.script[:200]!r}")
        except DeadlineExceeded:
            self.kill()
            raise
        assert self.status is not None
        return Result(self.status, bytes(self.stdout), bytes(self.stderr))

    def kill(self) -> None:
        """SIGKILL the command's process group in the guest."""
        self._guest.send(KILL, self.number, b"")


class Guest:
    """One virtual machine. A context manager: booted on entry, QEMU killed by pid on exit."""

    def __init__(
        self,
        kernel: pathlib.Path,
        initramfs: pathlib.Path,
        run_directory: pathlib.Path,
        devices: Sequence[FsDevice] = (),
        smp: int = 2,
        memory_mib: int = 512,
        may_reboot: bool = False,
        extra_arguments: Sequence[str] = (),
        kernel_options: str = "",
        watch: Callable[[], None] | None = None,
    ) -> None:
        """``run_directory`` gets the control and QMP sockets, the console log and QEMU's own output.

        Without ``may_reboot`` a reset (also by a panic) ends QEMU. ``watch`` is called about every second while we wait
        for the guest and may raise, say when the daemon has died and the guest would hang.
        """
        self.run_directory = run_directory
        self.console_log = run_directory / "console.log"
        self.qemu_log = run_directory / "qemu.log"
        self._control_path = run_directory / "control.sock"
        self.qmp_path = run_directory / "qmp.sock"
        self._watch = watch
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._received = bytearray()
        self._in_step = False  # has a HELLO been seen since the last (re)boot?
        self._commands: dict[int, Command] = {}
        self._next_number = 1
        self.boots = 0
        self.argv = [
            "qemu-system-x86_64",
            *("-nodefaults", "-no-user-config", "-nographic", "-monitor", "none"),
            *("-accel", "tcg,thread=multi,tb-size=256", "-cpu", CPU_MODEL, "-smp", _processors(smp), "-m", f"{memory_mib}M"),
            *("-object", f"memory-backend-memfd,id=mem,size={memory_mib}M,share=on"),
            *("-machine", "q35,memory-backend=mem,sata=off,smbus=off,vmport=off,hpet=off"),
            *("-kernel", str(kernel), "-initrd", str(initramfs), "-append", f"{KERNEL_OPTIONS} {kernel_options}".strip()),
            *("-serial", f"file:{self.console_log}"),
            *("-qmp", f"unix:{self.qmp_path},server=on,wait=off"),
            *("-chardev", f"socket,id=control,path={self._control_path},server=on,wait=off"),
            *("-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=control,name={PORT_NAME}"),
        ]
        for number, device in enumerate(devices):
            self.argv += ["-chardev", f"socket,id=fs{number},path={device.socket}"]
            properties = f"tag={device.tag},num-request-queues={device.request_queues},queue-size={device.queue_size}"
            self.argv += ["-device", f"vhost-user-fs-pci,chardev=fs{number},{properties}"]
        self.argv += [*([] if may_reboot else ["-no-reboot"]), *extra_arguments]

    def __enter__(self) -> "Guest":
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start QEMU and connect to the control port (the guest can't speak before we listen)."""
        self._process = start(self.argv, self.qemu_log)
        control = socket.socket(socket.AF_UNIX)

        def connected() -> bool:
            self._check_alive()
            try:
                control.connect(str(self._control_path))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            return True

        wait_until(connected, BOOT_TIMEOUT_S, "QEMU's control socket")
        self._control = control

    def wait_ready(self, timeout_s: float = BOOT_TIMEOUT_S) -> None:
        """Wait until the guest's process 1 says it listens. Raises GuestDied or DeadlineExceeded with the console's end."""
        self.pump_until(lambda: self._in_step, timeout_s, "the guest to boot")

    def stop(self) -> None:
        """Kill QEMU: the guest has nothing to save."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            stop(self._process)

    @property
    def pid(self) -> int:
        """QEMU's pid."""
        assert self._process is not None
        return self._process.pid

    def spawn(self, script: str) -> Command:
        """Start ``script`` (busybox sh) in the guest and return at once."""
        command = Command(self, self._next_number, script)
        self._next_number += 1
        self._commands[command.number] = command
        self.send(RUN, command.number, script.encode(errors="surrogateescape"))
        return command

    def run(self, script: str, timeout_s: float = 60, check: bool = True) -> Result:
        """Run ``script`` to its end. Raises CommandFailed unless it exits with 0 or ``check`` is off."""
        result = self.spawn(script).wait(timeout_s)
        if check and result.status != 0:
            said = (result.stdout + result.stderr)[-3000:].decode(errors="backslashreplace")
            raise CommandFailed(f"guest command {script[:500]!r} exited with {result.status}: {said}")
        return result

    def mount(self, tag: str = "share", where: str = "/mnt", options: str = "") -> None:
        """Mount a virtiofs device. Raises CommandFailed."""
        chosen = f"-o {options} " if options else ""
        self.run(f"mkdir -p {where} && mount -t virtiofs {chosen}{tag} {where}")

    def reboot(self, timeout_s: float = BOOT_TIMEOUT_S) -> None:
        """Reset the machine from inside without a word to the file systems, and wait until it is up again."""
        self._in_step = False
        self._received.clear()
        self.send(REBOOT, 0, b"")
        self.wait_ready(timeout_s)

    def send(self, kind: int, number: int, payload: bytes) -> None:
        """One frame to the guest. Raises GuestDied."""
        assert self._control is not None
        try:
            self._control.sendall(HEADER.pack(kind, number, len(payload)) + payload)
        except OSError as error:
            raise GuestDied(f"control port: {error}; {self.console_tail()}") from None

    def pump_until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Take in what the guest sends until ``condition`` holds."""
        assert self._control is not None
        deadline = time.monotonic() + timeout_s
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(f"after {timeout_s:g} s still waiting for {what}; {self.console_tail()}")
            if not select.select([self._control], [], [], min(left, 1))[0]:
                self._check_alive()
                continue
            data = self._control.recv(1 << 16)
            if not data:
                self._check_alive()
                raise GuestDied(f"QEMU closed the control port while waiting for {what}; {self.console_tail()}")
            self._received += data
            self._take_frames()

    def _take_frames(self) -> None:
        if not self._in_step:
            start_of_stream = self._received.find(HELLO_FRAME)
            if start_of_stream < 0:
                return
            del self._received[: start_of_stream + len(HELLO_FRAME)]
            self._in_step = True
            self._commands.clear()
            self.boots += 1
        while len(self._received) >= HEADER.size:
            kind, number, length = HEADER.unpack_from(self._received)
            if len(self._received) < HEADER.size + length:
                return
            payload = bytes(self._received[HEADER.size : HEADER.size + length])
            del self._received[: HEADER.size + length]
            self._take_frame(kind, number, payload)

    def _take_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == HELLO:
            raise GuestDied(f"the guest rebooted unasked; {self.console_tail()}")
        command = self._commands.get(number)
        if command is None:
            return
        if kind == STDOUT:
            command.stdout += payload
        elif kind == STDERR:
            command.stderr += payload
        elif kind == EXIT:
            command.status = int.from_bytes(payload, "little")
            del self._commands[number]

    def _check_alive(self) -> None:
        if self._watch is not None:
            self._watch()
        if self._process is None or self._process.poll() is not None:
            status = None if self._process is None else self._process.returncode
            said = self.qemu_log.read_bytes()[-2000:].decode(errors="replace") if self.qemu_log.exists() else ""
            raise GuestDied(f"QEMU exited with {status}: {said} {self.console_tail()}")

    def console(self) -> str:
        """All the guest's kernel and process 1 wrote to the serial console."""
        return self.console_log.read_bytes().decode(errors="replace") if self.console_log.exists() else ""

    def console_tail(self, size: int = 1500) -> str:
        """The console's end, for error texts."""
        return f"console: {self.console()[-size:]!r}"
