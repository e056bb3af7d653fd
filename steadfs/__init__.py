"""The one name under which steadfs is installed, and what its commands start with.

The packages `machine`, `specs`, `journal`, `fuse` and `device` import each other by these names. Names so plain would collide
in a site-packages (fusepy is called `fuse`, too). So a wheel has them below this package, and each command first puts their
folder at the front of the module path. In a checkout they lie beside it. See docs/decisions/one-umbrella.md.
"""

import sys
from pathlib import Path
from typing import NoReturn

_HERE = Path(__file__).resolve().parent
HOME = _HERE if (_HERE / "machine").is_dir() else _HERE.parent
"""The folder that holds the packages."""


def _find_packages() -> None:
    """Before anything of ours is imported: in this process these names are ours, whoever else is installed."""
    if sys.path[:1] != [str(HOME)]:
        sys.path.insert(0, str(HOME))


def steadfsd() -> int:
    """The daemon."""
    _find_packages()
    from device.commands.cli import main  # noqa: PLC0415 - the packages have to be found first

    return main()


def steadfsctl() -> int:
    """Looks at a running daemon."""
    _find_packages()
    from device.commands.ctl import main  # noqa: PLC0415

    return main()


def steadfs_audit() -> NoReturn:
    """The auditors' tool."""
    _find_packages()
    from journal.audit.commands.cli import script  # noqa: PLC0415

    script()
