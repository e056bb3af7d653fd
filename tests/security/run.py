"""`make attacks`: every attack on every subject at the same time; what comes of it is the table of docs/security.md.

`python -m tests.security.run SUBJECT [WORD…]`: the attacks whose names have one of those words, on one subject, as JSON.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.play.daemons import ROOT
from tests.security import files, keeper, kernel, page, processes
from tests.security.attack import Attack
from tests.security.stage import Place
from tests.security.subjects import CONTROL, SUBJECTS, Outcome, Subject, attempt, device, title

ATTACKS: tuple[Attack, ...] = (*files.ATTACKS, *processes.ATTACKS, *keeper.ATTACKS, *kernel.ATTACKS)
Outcomes = dict[str, dict[str, Outcome]]
"""A column's title -> an attack's name -> what came of it."""
_SECONDS = 240


def attack_all(subject: Subject, attacks: Sequence[Attack] = ATTACKS) -> dict[str, Outcome]:
    """One after the other, on one device as long as it lives. Tells on standard error how each went."""
    with (
        tempfile.TemporaryDirectory(prefix="steadfs-attacked-", dir="/var/tmp") as disk,
        tempfile.TemporaryDirectory(prefix="steadfs-attacked-", dir="/dev/shm") as memory,
        device(subject, Place(Path(disk), Path(memory))) as (made, stage),
    ):
        found = {}
        for attack in attacks:
            begun = time.monotonic()
            outcome = found[attack.name] = attempt(attack, made, stage)
            print(f"{subject.name}: {attack.name}: {outcome}, {time.monotonic() - begun:.2f} s", file=sys.stderr)
        return found


def run_all() -> Outcomes:
    """Each subject in a process of its own: most of the time a worker's successor is waited for. Raises RuntimeError."""
    titles = {subject.name: told for subject in (CONTROL, *SUBJECTS) if (told := title(subject)) is not None}
    command = (sys.executable, "-m", __spec__.name)
    pipe = subprocess.PIPE
    running = {name: subprocess.Popen([*command, name], cwd=ROOT, stdout=pipe, stderr=pipe, text=True) for name in titles}
    ended = {name: _told_by(process) for name, process in running.items()}
    for name, process in running.items():
        if process.returncode != 0:
            raise RuntimeError(f"{name}: {ended[name][1]}")
    outcomes = {name: json.loads(out) for name, (out, _) in ended.items()}
    return {titles[name]: {attack: Outcome(**words) for attack, words in rows.items()} for name, rows in outcomes.items()}


def _told_by(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Its standard output and error, at its end: which is asked for when it takes too long."""
    try:
        return process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()
        return process.communicate()


def main() -> int:
    """Returns 0."""
    if len(sys.argv) > 1:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
        name, *words = sys.argv[1:]
        (subject,) = (one for one in (CONTROL, *SUBJECTS) if one.name == name)
        attacks = [attack for attack in ATTACKS if not words or any(word in attack.name for word in words)]
        print(json.dumps({attack: asdict(outcome) for attack, outcome in attack_all(subject, attacks).items()}))
        return 0
    found = run_all()
    del found[CONTROL.title]
    page.PAGE.write_text(page.renewed(page.PAGE.read_text(), ATTACKS, found))
    print(page.table(ATTACKS, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
