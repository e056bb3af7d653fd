"""steadfsd as installed, but with crash points: in the native layer (built in), and round every step that Python declares.

`python -m tests.recovery.crash_points.crashing_daemon PAGE EXTENSIONS [small-journal] [small-archive] [keeper|archive]
-- OPTIONS`.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from machine import crash_points
from tests.recovery.crash_points import statements
from tests.recovery.crash_points.points import in_python

Point = Callable[[bytes], None]

EVERYWHERE, ARCHIVE = "", "journal.archive."
"""Of whose steps are points made."""
def main(words: list[str]) -> int:
    """As steadfsd's."""
    at = words.index("--")
    page, extensions, *own = words[:at]
    if "archive" in own:  # without the native layer's points
        _watch_steps(in_python(Path(page)), ARCHIVE)
    else:
        for package in ("fuse", "device"):
            point = _load(page, package, Path(extensions))
        if "keeper" in own:
            _watch_steps(point, EVERYWHERE, crash_points.KEEPER)
            _install_keeper(point)
        else:
            _watch_steps(point, EVERYWHERE)
            _install(point)
        _silence_rehearsals()
    if "small-journal" in own:
        _shrink_the_journal()
    if "small-archive" in own:
        _shrink_the_archive()
    _keep_pace()
    from device.commands.cli import main as steadfsd  # noqa: PLC0415 - after the extensions were put in their places

    return steadfsd(words[at + 1 :])


def _load(page: str, package: str, extensions: Path) -> Point:
    """Each extension has crash points of its own, on the same page."""
    name = f"{package}._native"
    [extension] = (extensions / package).glob("_native.*so")
    spec = importlib.util.spec_from_file_location(name, extension)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    lib: Any = module.lib
    if lib.crash_points_map(page.encode()) != 0:
        raise SystemExit("the page of crash points can't be mapped")
    found: Point = lib.crash_point
    return found


def _silence_rehearsals() -> None:
    """A spare passes the same code on a journal that is thrown away, at no moment in particular: its points aren't counted."""
    daemon: Any = importlib.import_module("device.commands.daemon")
    rehearse = daemon.rehearse
    libs = [sys.modules[f"{package}._native"].lib for package in ("fuse", "device")]

    def call(*args: Any) -> None:
        for lib in libs:
            lib.crash_points_silence(1)
        try:
            rehearse(*args)
        finally:
            for lib in libs:
                lib.crash_points_silence(0)

    daemon.rehearse = call


def _watch_steps(point: Point, where: str, role: str = crash_points.WORKER) -> None:
    """Points before and after each step of that role that is declared in modules whose names begin so."""

    def watch(function: Callable[..., Any], name: crash_points.Name, whose: str) -> Callable[..., Any]:
        watched = whose == role and function.__module__.startswith(where)
        return _around(point, function, name) if watched else function

    crash_points.install(watch)


def _install(point: Point) -> None:
    from fuse.steps import STEPS  # noqa: PLC0415

    for name, step in tuple(STEPS.items()):
        STEPS[name] = _after(point, step, f"after step {name}")
    statements.install(point)


def _install_keeper(point: Point) -> None:
    """Round its two system calls, each store into its page, and where a note was taken from the relay."""
    from device.processes import front_end, relayed, shared_page  # noqa: PLC0415

    channel: Any = importlib.import_module("device.processes.channel")

    class Calls:
        recvmmsg = staticmethod(_around(point, channel._libc.recvmmsg, "recvmmsg"))
        sendmmsg = staticmethod(_around(point, channel._libc.sendmmsg, "sendmmsg"))

    channel._libc = Calls
    relayed.decode = _around(point, relayed.decode, "decode")  # type: ignore[attr-defined]
    front_end.put_at = _around(point, front_end.put_at, "put_at")  # type: ignore[attr-defined]
    for kind in (shared_page.SharedPage, shared_page.Mmsghdr):
        _after_each_store(point, kind)


def _after_each_store(point: Point, kind: Any) -> None:
    """A state's point is named after the state."""
    from device.processes.shared_page import Said  # noqa: PLC0415
    from specs.machines import SHARED  # noqa: PLC0415

    store = kind.__setattr__
    states = {f"{table.name}_state": table for table in SHARED}
    workers = {name for name, *_ in Said._fields_}

    def call(self: Any, name: str, value: Any) -> None:
        store(self, name, value)
        if name in states:
            point(f"stored {states[name].name} {states[name].states[value]}".encode())
        elif name not in workers:
            point(f"stored {name}".encode())

    kind.__setattr__ = call


def _after(point: Point, function: Callable[..., Any], label: str) -> Callable[..., Any]:
    name = label.encode()

    @wraps(function)
    def call(*args: Any) -> Any:
        result = function(*args)
        point(name)
        return result

    return call


def _around(point: Point, function: Callable[..., Any], step: crash_points.Name) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        label = step if isinstance(step, str) else step(*args, **named)
        point(f"before {label}".encode())
        result = function(*args, **named)
        point(f"after {label}".encode())
        return result

    return call


def _keep_pace() -> None:
    """A death at a point is a kill from outside, even where it has to be made by a signal that tells of a fault."""
    from device.processes.worker_life import SERVED_ENOUGH_MS  # noqa: PLC0415

    SERVED_ENOUGH_MS.update(dict.fromkeys(SERVED_ENOUGH_MS, 0))


def _shrink_the_journal() -> None:
    """Checkpoint and trimming within a few requests."""
    writer: Any = importlib.import_module("journal.writer.writer")
    from journal.limits import Limits  # noqa: PLC0415

    small = Limits(transitions_between_checkpoints=12, keys_per_step=2, transitions_trimmed_per_step=3, pages_free_max=0)
    writer.Limits = lambda: small


def _shrink_the_archive() -> None:
    """A file holds its header and a few blocks, a block a commit or two."""
    daemon: Any = importlib.import_module("device.commands.daemon")
    from device.worker.journal import prepare_specs  # noqa: PLC0415
    from journal.archive.format import member, specs_line  # noqa: PLC0415
    from journal.archive.settings import ArchiveSettings  # noqa: PLC0415

    header = len(member([specs_line(prepare_specs()[0])]))
    small = {"file_bytes": header + 500, "batch_bytes": 400, "batch_age_s": 0.01, "retry_s": 0.05}
    daemon.ArchiveSettings = lambda **given: ArchiveSettings(**{**given, **small})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
