"""The host's fio inside the guest: copied into the share with its libraries, run from there."""

import pathlib
import re
import shutil
import subprocess

FIO_TIMEOUT_S = 180


def install_fio(directory: pathlib.Path) -> str:
    """Put the host's fio with its libraries into the share; returns the guest's command, which loads all of it from there."""
    fio = shutil.which("fio")
    assert fio is not None, "no fio on this host; run: make setup"
    directory.mkdir()
    shutil.copy(fio, directory / "fio")
    listed = subprocess.run(["ldd", fio], capture_output=True, text=True, check=True, timeout=30).stdout
    loader = ""
    for path in re.findall(r"(/\S+) \(0x", listed):
        shutil.copy(path, directory / pathlib.Path(path).name)
        if "/ld-linux" in path:
            loader = pathlib.Path(path).name
    where = f"/mnt/{directory.name}"
    return f"{where}/{loader} --library-path {where} {where}/fio"
