"""Fetch a distribution kernel into a cache directory, unpacked but never installed: ``python -m tools.fetch_kernel DIR``.

Debian hosts get Debian 13's cloud kernel (6.12: several virtiofs queues need 6.11 or newer; virtio_pci, fuse and virtiofs are
built in), or their own suite's when that can't be had; Ubuntu hosts get theirs with its modules package. The choice is
written to ``DIR/kernel.json``: {"release": str, "vmlinuz": str, "modules": str, "packages": [str]}, paths relative to DIR.
"""

import json
import pathlib
import shutil
import sys

from tools.private_apt import AptError, PrivateApt, distribution_source, os_release

PREFERRED_DEBIAN_SUITE = "trixie"


def candidates(distribution: str, codename: str, version: str) -> list[tuple[str, tuple[str, ...]]]:
    """(suite, meta packages) to try, best first."""
    if distribution == "ubuntu":
        return [(codename, (f"linux-image-virtual-hwe-{version}", "linux-image-virtual"))]
    suites = dict.fromkeys((PREFERRED_DEBIAN_SUITE, codename))
    return [(suite, ("linux-image-cloud-amd64", "linux-image-amd64")) for suite in suites]


def kernel_packages(apt: PrivateApt, metas: tuple[str, ...]) -> list[str]:
    """The real packages behind the first meta package that exists: the image, and its modules where separate."""
    problem = "no meta package"
    for meta in metas:
        try:
            names = apt.depends(meta)
        except AptError as error:
            problem = str(error)
            continue
        images = [name for name in names if name.startswith("linux-image-")]
        if not images:
            problem = f"{meta} depends on no linux-image package"
            continue
        behind = apt.depends(images[0])
        return [images[0], *sorted({name for name in behind if name.startswith("linux-modules-")})]
    raise AptError(problem)


def describe(cache: pathlib.Path, unpacked: pathlib.Path, packages: list[str]) -> dict[str, object]:
    """Find image and modules in an unpacked package tree (usr-merged or not). Raises AptError if either is missing."""
    images = sorted(unpacked.glob("boot/vmlinuz-*"))
    if not images:
        raise AptError(f"{packages} contain no boot/vmlinuz-*")
    release = images[0].name.removeprefix("vmlinuz-")
    for prefix in ("lib/modules", "usr/lib/modules"):
        modules = unpacked / prefix / release
        if modules.is_dir():
            break
    else:
        raise AptError(f"{packages} contain no modules of {release}")
    return {
        "release": release,
        "vmlinuz": str(images[0].relative_to(cache)),
        "modules": str(modules.relative_to(cache)),
        "packages": packages,
    }


def fetch(cache: pathlib.Path) -> dict[str, object]:
    """Fetch, unpack and describe the best kernel to be had. Raises AptError with the last reason when there is none."""
    source = distribution_source()
    system = os_release()
    choices = candidates(system.get("ID", ""), source.suite, system.get("VERSION_ID", ""))
    problem = AptError("no candidate suite")
    for suite, metas in choices:
        try:
            apt = PrivateApt(cache.parent / "apt" / suite, source, suite)
            apt.update()
            unpacked = cache / suite
            shutil.rmtree(unpacked, ignore_errors=True)
            packages = apt.download_unpack(kernel_packages(apt, metas), unpacked)
            return describe(cache, unpacked, packages)
        except AptError as error:
            print(f"kernel of {suite}: {error}", file=sys.stderr)
            problem = error
    raise problem


def main() -> int:
    """Returns 0 when ``DIR/kernel.json`` stands, 1 with one line on stderr otherwise."""
    cache = pathlib.Path(sys.argv[1]).absolute()
    cache.mkdir(parents=True, exist_ok=True)
    try:
        description = fetch(cache)
    except AptError as error:
        print(f"no guest kernel: {error}", file=sys.stderr)
        return 1
    staged = cache / "kernel.json.new"
    staged.write_text(json.dumps(description, indent=1) + "\n")
    staged.rename(cache / "kernel.json")
    print(f"guest kernel {description['release']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
