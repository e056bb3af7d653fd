"""steadfsd as installed, but with crash points: in the native layer (built in), and round every step in Python.

`python -m tests.recovery.crash_points.crashing_daemon PAGE EXTENSIONS [small-journal] [small-archive] [keeper|archive]
-- OPTIONS`. The points lie around the code; nothing of it knows of them.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from tests.recovery.crash_points import statements
from tests.recovery.crash_points.points import in_python

_AROUND = {
    "fuse.executor.native.NativeExecutor": ("run_at",),
    "device.rings.requests.Requests": ("take", "begin", "answer", "committed", "publish", "turn"),
    "device.rings.vrings.Vrings": ("setup", "start"),
    "device.rings.recovery.RingRecovery": ("rebase", "resubmit", "settle"),
    "journal.writer.writer.Journal": ("commit",),
    "fuse.host.host.Host": ("settle",),
    "device.worker.main.Worker": ("_answer", "_go_on", "_end_session"),
    "device.recovery.resubmission.TakingUp": ("attach",),
    "device.processes.descriptors.Sweep": ("_close_some",),
    "journal.writer.trim.Trim": ("step",),
    "journal.archive.feed.ArchiveFeed": ("_hand_over", "_agree", "_acknowledge", "trimmed"),
    "journal.archive.files.ArchiveFiles": (
        *("begin", "append", "sync", "seal", "remove_old", "_create_if_none", "_write_out", "_rename", "_sync_directory"),
    ),
    "journal.writer.checkpoint.Checkpoint": ("begin_round", "write_some", "drop_tombstones"),
}
_AROUND_KEEPER = {
    "device.processes.channel.Channel": ("_read", "prepare", "send", "close_sent", "forget", "drop"),
    "device.processes.keeper.Keeper": ("_accept", "_welcome", "_ask", "_say", "_deliver", "_part", "_hang_up"),
    "device.processes.worker_life.Life": ("spawn", "_clone", "_enter", "bury"),
    "device.processes.spare.Spare": ("make", "call", "say", "_enter", "_let_go", "bury"),
}
_NO_STEP = {"progress", "worker_code", "replaying_generation", "ready_generation", "spare_waits"}
"""Stores of worker and spare, not of the keeper."""


def main(words: list[str]) -> int:
    """As steadfsd's."""
    at = words.index("--")
    page, extensions, *own = words[:at]
    if "archive" in own:
        _install_archive(in_python(Path(page)))
    else:
        for package in ("fuse", "device"):
            point = _load(page, package, Path(extensions))
        _silence_rehearsals()
    if "keeper" in own:
        _install_keeper(point)
    elif "archive" not in own:
        _install(point)
    if "small-journal" in own:
        _shrink_the_journal()
    if "small-archive" in own:
        _shrink_the_archive()
    from device.commands.cli import main as steadfsd  # noqa: PLC0415 - after the extensions were put in their places

    return steadfsd(words[at + 1 :])


def _load(page: str, package: str, extensions: Path) -> Callable[[bytes], None]:
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
    found: Callable[[bytes], None] = lib.crash_point
    return found


def _silence_rehearsals() -> None:
    """A spare passes the same code on a journal that is thrown away, at no moment in particular: its points aren't counted."""
    rehearsal: Any = importlib.import_module("device.worker.rehearsal")
    run = rehearsal.Rehearsal.run
    libs = [sys.modules[f"{package}._native"].lib for package in ("fuse", "device")]

    def call(self: Any, *args: Any) -> None:
        for lib in libs:
            lib.crash_points_silence(1)
        try:
            run(self, *args)
        finally:
            for lib in libs:
                lib.crash_points_silence(0)

    rehearsal.Rehearsal.run = call


def _install_archive(point: Callable[[bytes], None]) -> None:
    """Only the steps of archiving, without the native layer's points."""
    _around_methods(point, {where: methods for where, methods in _AROUND.items() if where.startswith("journal.archive_")})


def _install(point: Callable[[bytes], None]) -> None:
    from fuse.steps import STEPS  # noqa: PLC0415

    for name, step in tuple(STEPS.items()):
        STEPS[name] = _after(point, step, f"after step {name}")
    _around_methods(point, _AROUND)
    _around_actions(point)
    statements.install(point)


def _install_keeper(point: Callable[[bytes], None]) -> None:
    """Round the keeper's steps, its two system calls, each store into its page, and where a note was taken from the relay."""
    from device.processes import keeper  # noqa: PLC0415
    from device.processes import shared_page as kept  # noqa: PLC0415

    _around_methods(point, _AROUND_KEEPER)
    channel: Any = importlib.import_module("device.processes.channel")

    class Calls:
        recvmmsg = staticmethod(_around(point, channel._libc.recvmmsg, "recvmmsg"))
        sendmmsg = staticmethod(_around(point, channel._libc.sendmmsg, "sendmmsg"))

    channel._libc = Calls
    keeper.decode = _around(point, keeper.decode, "decode")  # type: ignore[attr-defined]
    keeper.put_into_slot = _around(point, keeper.put_into_slot, "put_into_slot")  # type: ignore[attr-defined]
    for kind in (kept.Kept, kept.Letter):
        _after_each_store(point, kind)


def _after_each_store(point: Callable[[bytes], None], kind: Any) -> None:
    store = kind.__setattr__

    def call(self: Any, name: str, value: Any) -> None:
        store(self, name, value)
        if name not in _NO_STEP:
            point(f"stored {name}".encode())

    kind.__setattr__ = call


def _around_methods(point: Callable[[bytes], None], table: dict[str, tuple[str, ...]]) -> None:
    for where, methods in table.items():
        module, _, owner = where.rpartition(".")
        kind = getattr(importlib.import_module(module), owner)
        for method in methods:
            setattr(kind, method, _around(point, getattr(kind, method), method))


def _after(point: Callable[[bytes], None], function: Callable[..., Any], label: str) -> Callable[..., Any]:
    name = label.encode()

    @wraps(function)
    def call(*args: Any) -> Any:
        result = function(*args)
        point(name)
        return result

    return call


def _around(point: Callable[[bytes], None], function: Callable[..., Any], label: str) -> Callable[..., Any]:
    before, after = f"before {label}".encode(), f"after {label}".encode()

    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        point(before)
        result = function(*args, **named)
        point(after)
        return result

    return call


def _around_actions(point: Callable[[bytes], None]) -> None:
    """Each action of the vhost-user session under its own name."""
    from device.vhost.control import Control  # noqa: PLC0415

    perform = Control._perform

    def call(self: Control, action: Any) -> Any:
        name = type(action).__name__
        point(f"before {name}".encode())
        result = perform(self, action)
        point(f"after {name}".encode())
        return result

    Control._perform = call  # type: ignore[method-assign]


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
