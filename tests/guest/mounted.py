"""A running guest with a share, and where files are kept between runs."""

import dataclasses
import pathlib

from tests.guest.daemon import REPOSITORY, Daemon
from tests.guest.machine.qemu import Guest

CACHE = REPOSITORY / ".cache"


@dataclasses.dataclass(frozen=True)
class GuestAndShare:
    """A running guest with the share mounted at /mnt, its daemon, and the shared directory as the host sees it."""

    guest: Guest
    daemon: Daemon
    share: pathlib.Path
