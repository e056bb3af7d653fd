"""The guest's initramfs: busybox, kernel modules, our C programs and process 1, as a cpio archive (newc, uncompressed).

Uncompressed because unpacking costs the TCG guest more than QEMU needs to copy a few megabytes.
"""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import stat
import subprocess

from tests.guest.machine.kernel import Kernel, needed_modules

PROGRAMS = pathlib.Path(__file__).parent / "programs"
CFLAGS = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-static")
COMPILE_TIMEOUT_S = 120


class ImageError(Exception):
    """A tool for building the image is missing, or a guest program does not compile."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One cpio member: permission and type bits in ``mode``, device number for nodes, target as data for symlinks."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def cpio_newc(entries: list[Entry]) -> bytes:
    """The archive as the kernel unpacks it (Linux Documentation/driver-api/early-userspace/buffer-format.rst)."""
    parts: list[bytes] = []
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.path.encode() + b"\0"
        major, minor = entry.device
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, major, minor, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        parts += [head, b"\0" * (-len(head) % 4), entry.data, b"\0" * (-len(entry.data) % 4)]
    return b"".join(parts)


def find_busybox() -> pathlib.Path:
    """The host's static busybox. Raises ImageError when it is missing or dynamically linked."""
    found = shutil.which("busybox")
    if found is None or b"ld-linux" in pathlib.Path(found).read_bytes()[:4096]:
        raise ImageError("no static busybox on this host; run: make setup")
    return pathlib.Path(found)


def compile_programs(cache: pathlib.Path) -> dict[str, pathlib.Path]:
    """Every ``programs/*.c`` as a static executable in ``cache/programs``, by name; compiled when its text has changed."""
    target = cache / "programs"
    target.mkdir(parents=True, exist_ok=True)
    headers = b"".join(path.read_bytes() for path in sorted(PROGRAMS.glob("*.h")))
    compiled: dict[str, pathlib.Path] = {}
    for source in sorted(PROGRAMS.glob("*.c")):
        digest = hashlib.sha256(headers + source.read_bytes() + " ".join(CFLAGS).encode()).hexdigest()[:16]
        program = target / f"{source.stem}-{digest}"
        if not program.is_file():
            staged = target / f"{source.stem}.{os.getpid()}.new"
            command = ["gcc", *CFLAGS, "-o", str(staged), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
            if done.returncode != 0:
                raise ImageError(f"{source.name} does not compile:\n{done.stderr}")
            staged.rename(program)
        compiled[source.stem] = program
    return compiled


def image_entries(kernel: Kernel, programs: dict[str, pathlib.Path]) -> list[Entry]:
    """The archive's members: directories, console node, busybox with its applets' links, modules, programs, /init."""
    directory, executable, plain = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
    entries = [Entry(path, directory) for path in ("bin", "dev", "etc", "lib", "mnt", "proc", "sys", "tmp")]
    # Process 1 gets /dev/console as its standard streams before anything is mounted.
    entries.append(Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
    entries.append(Entry("etc/passwd", plain, b"root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n"))
    entries.append(Entry("etc/group", plain, b"root:x:0:\nuser:x:1000:\n"))
    busybox = find_busybox()
    entries.append(Entry("bin/busybox", executable, busybox.read_bytes()))
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True, timeout=30).stdout.split()
    own = {name for name in programs if name != "init"}
    taken = own | {"busybox"}
    entries += [Entry(f"bin/{name}", stat.S_IFLNK | 0o777, b"busybox") for name in applets if name not in taken]
    entries += [Entry(f"bin/{name}", executable, programs[name].read_bytes()) for name in sorted(own)]
    modules = needed_modules(kernel)
    entries += [Entry(f"lib/{name}.ko", plain, image) for name, image in modules]
    entries.append(Entry("modules", plain, "".join(f"/lib/{name}.ko\n" for name, _ in modules).encode()))
    entries.append(Entry("init", executable, programs["init"].read_bytes()))
    return entries


def build_image(cache: pathlib.Path, kernel: Kernel) -> pathlib.Path:
    """The initramfs for ``kernel``, in ``cache/initramfs`` under its content's hash. Raises ImageError, KernelMissing."""
    archive = cpio_newc(image_entries(kernel, compile_programs(cache)))
    target = cache / "initramfs"
    target.mkdir(parents=True, exist_ok=True)
    image = target / f"{hashlib.sha256(archive).hexdigest()[:16]}.cpio"
    if not image.is_file():
        for old in sorted(target.glob("*.cpio"), key=lambda path: path.stat().st_mtime)[:-4]:
            old.unlink()
        staged = target / f"{os.getpid()}.new"
        staged.write_bytes(archive)
        staged.rename(image)
    return image
