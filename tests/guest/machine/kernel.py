"""The guest's kernel as unpacked by ``make setup``: image, and the modules a virtiofs guest needs, in load order."""

import dataclasses
import json
import lzma
import pathlib
import re
import subprocess
import zlib

# What a guest of ours must be able to do: PCI virtio devices, the control port, and virtiofs itself.
NEEDED_MODULES = ("virtio_pci", "virtio_console", "virtiofs")
PVH_ELF_MAGIC = b"\x7fELF"


class KernelMissing(Exception):
    """``make setup`` has not fetched a kernel, or the cache is damaged."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package. ``modules`` is the directory that holds modules.builtin."""

    release: str
    vmlinuz: pathlib.Path
    modules: pathlib.Path

    def version(self) -> tuple[int, int]:
        """(major, minor) of the release, to know what this guest's drivers can do."""
        major, minor = self.release.split(".")[:2]
        return int(major), int(re.match(r"\d+", minor)[0])  # type: ignore[index]


def load_kernel(cache: pathlib.Path) -> Kernel:
    """The kernel described by ``cache/kernel/kernel.json``. Raises KernelMissing."""
    directory = cache / "kernel"
    try:
        described = json.loads((directory / "kernel.json").read_text())
        kernel = Kernel(described["release"], directory / described["vmlinuz"], directory / described["modules"])
    except (OSError, ValueError, KeyError) as error:
        raise KernelMissing(f"no guest kernel in {directory} ({error}); run: make setup") from None
    if not kernel.vmlinuz.is_file() or not kernel.modules.is_dir():
        raise KernelMissing(f"guest kernel in {directory} is incomplete; remove that directory and run: make setup")
    return kernel


def read_module(path: pathlib.Path) -> bytes:
    """A module's ELF image, whatever the distribution compressed it with."""
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=True, timeout=60).stdout
    return path.read_bytes()


def module_name(path: str) -> str:
    """``kernel/fs/fuse/virtio-rng.ko.xz`` -> ``virtio_rng``, the name that ``depends=`` lines use."""
    return pathlib.PurePath(path).name.split(".ko")[0].replace("-", "_")


def needed_modules(kernel: Kernel) -> list[tuple[str, bytes]]:
    """(name, ELF image) of every module to insert, each after those it depends on; empty when all is built in.

    Dependencies come from the modules' own ``depends=`` strings, since an unpacked package has no modules.dep (depmod writes
    that at installation). Raises KernelMissing for a module that is neither a file nor built in.
    """
    builtin = {module_name(line) for line in (kernel.modules / "modules.builtin").read_text().splitlines()}
    files = {module_name(path.name): path for path in kernel.modules.rglob("*.ko*")}
    ordered: dict[str, bytes] = {}

    def visit(name: str, asked_by: str) -> None:
        if name in builtin or name in ordered:
            return
        if name not in files:
            raise KernelMissing(f"kernel {kernel.release} has no module {name} (needed by {asked_by})")
        image = read_module(files[name])
        depends = re.search(rb"\0depends=([^\0]*)\0", image)
        for other in depends[1].decode().split(",") if depends else []:
            if other:
                visit(other, name)
        ordered[name] = image

    for name in NEEDED_MODULES:
        visit(name, "the guest")
    return list(ordered.items())


def boot_image(kernel: Kernel) -> pathlib.Path:
    """What to give QEMU's -kernel: the uncompressed ELF kernel, or the bzImage when it can't be had.

    QEMU enters an ELF kernel with a PVH note directly, which saves the guest its decompression and relocation: about a second
    under TCG. The payload's place is in the setup header (Linux Documentation/arch/x86/boot.rst, fields payload_offset and
    payload_length); its last 4 bytes are the uncompressed size, no part of the compressed stream.
    """
    unpacked = kernel.vmlinuz.with_name(f"vmlinux-{kernel.release}")
    if unpacked.is_file():
        return unpacked
    image = kernel.vmlinuz.read_bytes()
    protected_mode = (image[0x1F1] + 1) * 512
    offset = protected_mode + int.from_bytes(image[0x248:0x24C], "little")
    payload = image[offset : offset + int.from_bytes(image[0x24C:0x250], "little") - 4]
    try:
        elf = decompress(payload)
    except (OSError, subprocess.SubprocessError, lzma.LZMAError, zlib.error):
        return kernel.vmlinuz
    if not elf.startswith(PVH_ELF_MAGIC) or b"Xen\0" not in elf:
        return kernel.vmlinuz
    staged = unpacked.with_suffix(".new")
    staged.write_bytes(elf)
    staged.rename(unpacked)
    return unpacked


def decompress(payload: bytes) -> bytes:
    """A kernel payload by its magic: zstd, xz or gzip; anything else comes back as it is."""
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        command = ["zstd", "-dcq"]
        return subprocess.run(command, input=payload, capture_output=True, check=True, timeout=60).stdout
    if payload.startswith(b"\xfd7zXZ"):
        return lzma.decompress(payload)
    if payload.startswith(b"\x1f\x8b"):
        return zlib.decompress(payload, wbits=31)
    return payload
