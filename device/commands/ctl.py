"""steadfsctl: looks at a running daemon through its journal directory, without disturbing it."""

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from device.exits import Exit
from device.rings import slots
from journal.archive.wire import trouble_name
from journal.errors import JournalError
from journal.live import LOST_WHY, read_live
from specs.worker import DEATHS

_SIGNALLED = 128
_SLOTS_BYTES_MAX = 16 << 20
"""Ten times what the most queues take. A captured worker may have made the file, so it is no pipe and no link either."""
_IN_FLIGHT = ("popped", "executing", "executed", "committed")


def status(directory: Path) -> dict[str, int | bool | str]:
    """What `status` shows. Raises NoJournal when no daemon has ever used the directory, or not this format."""
    found: dict[str, int | bool | str] = dict(read_live(directory))
    why = int(found["state_lost_why"])
    found["state_lost_why"] = (LOST_WHY[why].replace(" ", "-") or "none") if why < len(LOST_WHY) else str(why)
    for name in ("archive_trouble", "seal_trouble"):
        found[name] = trouble_name(int(found[name]))
    found["in_flight"] = in_flight(directory)
    found["running"] = any(_alive(int(found[name])) for name in ("guardian_pid", "keeper_pid"))
    cause = int(found["last_worker_death_cause"])
    found["last_worker_death_cause"] = DEATHS[cause].name if cause < len(DEATHS) else str(cause)
    for name in ("last_worker_death", "last_keeper_death"):
        found[name] = death(int(found[name]))
    return found


def death(noted: int) -> str:
    """How a process died: the page holds one more than a shell's exit status, 0 for nothing known."""
    status = noted - 1
    if status < 0:
        return "none"
    if status > _SIGNALLED:
        with contextlib.suppress(ValueError):
            return signal.Signals(status - _SIGNALLED).name
    return f"exit-{status}"


def in_flight(directory: Path) -> int:
    """Requests popped and not published, from the slots file; 0 when there is none."""
    try:
        fd = os.open(directory / "slots", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        if os.fstat(fd).st_size > _SLOTS_BYTES_MAX:
            raise slots.SlotsError("the slots are of a size that no daemon gives them")
        report = slots.validate(fd)
    finally:
        os.close(fd)
    return sum(report.phases[phase] for phase in _IN_FLIGHT)


def _alive(pid: int) -> bool:
    """A zombie isn't: its parent may take its time, or be nobody who cares."""
    try:
        return pid > 0 and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="steadfsctl", description=__doc__)
    parser.add_argument("--journal-dir", type=Path, required=True, help="the daemon's --journal-dir")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("status", help="processes, session, journal, tables")
    show.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args(argv)
    try:
        found = status(options.journal_dir)
    except (JournalError, slots.SlotsError, OSError) as error:
        print(f"steadfsctl: --journal-dir: {error}", file=sys.stderr)
        return Exit.JOURNAL_DIR
    if options.json:
        print(json.dumps(found, sort_keys=True))
    else:
        width = max(map(len, found))
        for name, value in found.items():
            print(f"{name.ljust(width)}  {value}")
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
