"""Fetch Debian's Rust virtiofsd and its libraries for comparison: ``python -m tools.fetch_peer_rust DIR [SUITE]``.

Nothing is installed: tools/peer-rust-virtiofsd runs it with its own C library's loader. ``DIR/outcome`` holds the package file
names, or why it can't be had; either way it isn't tried again until that file is removed.
"""

import os
import pathlib
import shutil
import subprocess
import sys

from tools.private_apt import AptError, PrivateApt, distribution_source, os_release

SUITE = "trixie"
PACKAGES = ("virtiofsd", "libc6", "libcap-ng0", "libgcc-s1", "libseccomp2")


def fetch(target: pathlib.Path, suite: str) -> list[str]:
    """Download and unpack what that suite of Debian has; returns the packages' file names. Raises AptError, also when it
    does not start."""
    source = distribution_source()
    if os_release().get("ID") != "debian":
        raise AptError("only fetched on Debian hosts")
    apt = PrivateApt(target.parents[1] / "apt" / suite, source, suite)
    apt.update()
    names = apt.download_unpack(list(PACKAGES), target)
    wrapper = pathlib.Path(__file__).with_name("peer-rust-virtiofsd")
    environment = {**os.environ, "PEER_RUST": str(target)}
    started = subprocess.run([wrapper, "--version"], env=environment, capture_output=True, text=True, timeout=30, check=False)
    if started.returncode != 0:
        raise AptError(f"it does not start: {started.stderr.strip()}")
    return names


def main() -> int:
    """Returns 0 when the program runs, 1 with the reason on stderr otherwise."""
    target = pathlib.Path(sys.argv[1]).absolute()
    suite = sys.argv[2] if len(sys.argv) > 2 else SUITE
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    try:
        outcome, status = "\n".join(fetch(target, suite)), 0
    except AptError as error:
        outcome, status = f"unavailable: {error}", 1
        print(outcome, file=sys.stderr)
    (target / "outcome").write_text(outcome + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
