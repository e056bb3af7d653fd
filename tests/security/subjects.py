"""Who is attacked: our daemon in each sandbox, as root and without root's rights, and the peer with its defaults."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from journal.errors import NoJournal
from journal.live import read_live
from tests.play.daemons import RUST_NEWER, RUST_UNPACKED, STEADFS, Daemon, Kind, rust_start, steadfs
from tests.play.guest import Guest
from tests.play.vmm import Vmm
from tests.recovery.killer import is_dead
from tests.security.attack import Attack, Attacker
from tests.security.capture import Died, Stuck
from tests.security.stage import NOBODY, Place, Stage, rust_version, soon


@dataclass(frozen=True, slots=True)
class Subject:
    """One way to run a daemon: ours, in that `sandbox`; or a `peer`, a Rust virtiofsd with its defaults, unpacked there;
    or none at all: a root process that nothing confines, on which every attack must succeed if it is one."""

    name: str
    title: str
    sandbox: str = ""
    seccomp: str = "kill"
    unprivileged: bool = False
    peer: Path | None = None

    @property
    def ours(self) -> bool:
        return bool(self.sandbox)


_AUDIT = STEADFS.with_name("steadfs-audit")
CONTROL = Subject("control", "unconfined")
SUBJECTS = (
    Subject("peer", "virtiofsd", peer=RUST_UNPACKED),
    Subject("newer-peer", "virtiofsd", peer=RUST_NEWER),
    Subject("namespace", "ours", "namespace"),
    Subject("unfiltered", "ours, --seccomp=none", "namespace", "none"),
    Subject("chroot", "ours, chroot", "chroot"),
    Subject("none", "ours, none", "none"),
    Subject("user-namespace", "ours, no root", "namespace", unprivileged=True),
    Subject("user-none", "ours, none, no root", "none", unprivileged=True),
)


def title(subject: Subject) -> str | None:
    """What stands above its column; None: that peer is not installed."""
    if subject.peer is None:
        return subject.title
    version = rust_version(subject.peer)
    return version and f"{subject.title} {version}"


_UNCONFINED = """
import os, select, socket, sys
at, share = sys.argv[1:]
one = socket.socket(socket.AF_UNIX)
one.bind(at)
one.listen()
open(at + ".pid", "w").write(f"{os.getpid()}\\n")
os.chdir(share)
os.open(os.path.dirname(at), os.O_RDONLY)
select.poll().poll()
"""
_WITH_A_MOUNT = ("unshare", "--mount", "sh", "-c", 'mount -o bind,nosuid "$0" "$0" && exec "$@"')
"""Of the share, with a mark that could be taken off."""


def kind_of(subject: Subject, words: tuple[str, ...], key: Path) -> Kind:
    """How it is started; `words`: by what command, `key`: what seals its journal."""
    if subject is CONTROL:
        program = (sys.executable, "-S", "-c", _UNCONFINED)
        return Kind(subject.name, lambda at, share, _: [*_WITH_A_MOUNT, str(share), *program, str(at), str(share)])
    if subject.peer is not None:
        start = rust_start(subject.peer)
        assert start is not None
        return Kind(subject.name, lambda at, share, _: [*start, f"--socket-path={at}", f"--shared-dir={share}"])
    ours = steadfs()
    assert ours is not None, "steadfsd is not installed in .venv"
    command, options = ours.command, ("--keep-listening", "--watchdog=4", f"--journal-seal-key={key}")
    confined = (f"--sandbox={subject.sandbox}", f"--seccomp={subject.seccomp}")
    return Kind(subject.name, lambda at, share, state: [*words, *command(at, share, state), *options, *confined])


class Attackable(Daemon):
    """One whose filter is meant to refuse something."""

    def __init__(self, kind: Kind, share: Path, directory: Path) -> None:
        super().__init__(kind, share, directory)
        self.may_be_refused = True


class Device:
    """A running daemon with a guest. `end` is always called."""

    def __init__(self, subject: Subject, stage: Stage) -> None:
        self._subject = subject
        self.ours = subject.ours
        self._stage = stage
        self.starts = 0
        self._guests = contextlib.ExitStack()
        self._daemon: Daemon | None = None
        self._guest: Guest | None = None

    def _start(self) -> None:
        """Raises AssertionError with its log when it does not come up."""
        self.end()
        assert soon(lambda: not self._stage.place.listens(), 20), "an earlier one is still there"
        place = self._stage.place
        kind = kind_of(self._subject, self._stage.as_user, place.key)
        self._daemon = Attackable(kind, place.share, place.state)
        self.starts += 1
        assert soon(place.listens, 20), self._daemon.log.read_text()
        if self._subject is CONTROL:
            return
        try:
            machine = self._guests.enter_context(Vmm(place.state / "socket"))
            machine.start()
            self._guest = Guest(machine)
            self._guest.init()
        except Exception as error:
            raise AssertionError(self._daemon.log.read_text()) from error

    def ready(self) -> None:
        """A worker serves the guest: the one that did, its successor, or that of another daemon."""
        if self._daemon is None or not self._serves():
            self._start()

    def _serves(self) -> bool:
        assert self._daemon is not None
        if self._daemon.process.poll() is not None:
            return False
        try:
            if self._guest is not None:
                self._guest.statfs()
        except Exception:  # whatever an attack has made of it
            return False
        return True

    def worker(self) -> int:
        """Who serves; 0: nobody."""
        assert self._daemon is not None
        if self.ours:
            return self.told("worker_pid")
        return next((pid for pid in reversed(self._daemon.family()) if not is_dead(pid)), 0)

    def capture(self, *, by_main: bool = True) -> Attacker:
        """One of the worker's threads; see Attack."""
        worker = self.worker()
        threads = [int(name) for name in os.listdir(f"/proc/{worker}/task")]
        return Attacker(worker if by_main else max(threads), self._stage, self.inside(), self.keepers())

    def vmm(self) -> Vmm:
        """The front-end."""
        assert self._guest is not None
        return self._guest.vmm

    def told(self, name: str) -> int:
        """A number of the device's status page."""
        return read_live(self._stage.place.state / "journal")[name]

    def keepers(self) -> tuple[int, ...]:
        """Keeper and guardian; none: there is no such thing."""
        return (self.told("keeper_pid"), self.told("guardian_pid")) if self.ours else ()

    def kill_worker(self) -> None:
        with contextlib.suppress(ProcessLookupError, NoJournal):
            if pid := self.worker():
                os.kill(pid, signal.SIGKILL)
                soon(lambda: is_dead(pid))

    def inside(self) -> Path:
        """The worker's name for the share."""
        return self._stage.place.share if self._subject.sandbox == "none" or self._subject is CONTROL else Path("/")

    def end(self) -> None:
        self._guests.close()
        if self._daemon is not None:
            self._daemon.stop()
            self._daemon = None
        if self._subject is CONTROL:
            (self._stage.place.state / "socket").unlink(missing_ok=True)


@contextmanager
def device(subject: Subject, directories: Place) -> Iterator[tuple[Device, Stage]]:
    """On its stage; everything is gone afterwards."""
    directories.make(NOBODY if subject.unprivileged else 0)
    shutil.copy2("/bin/busybox", directories.share / "program")
    with Stage(directories, subject.unprivileged) as stage:
        if subject.ours:
            out, verification = directories.key, directories.key.with_name("verification")
            command = (*stage.as_user, str(_AUDIT), "seal-key", "--out", str(out), "--verification-key", str(verification))
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
        made = Device(subject, stage)
        try:
            yield made, stage
        finally:
            made.end()
            _unmount_below(directories.disk)


def _unmount_below(directory: Path) -> None:
    """What an attack has mounted in our own namespace and could not take off."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if line.split()[4].startswith(f"{directory}/"):
            subprocess.run(["umount", "--lazy", line.split()[4]], check=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`word`: possible, refused, killed; `survived`: whether the device went on with the same guest."""

    word: str
    detail: str
    survived: bool = True


def attempt(attack: Attack, made: Device, stage: Stage) -> Outcome:
    """One attack on one device, which is made to serve first."""
    if (attack.of_ours or attack.campaign) and not made.ours:
        return Outcome("–", "there is none")
    if attack.campaign is not None:
        outcome, survived = Outcome("possible" if attack.campaign(made, stage) else "refused", ""), True
    else:
        made.ready()
        starts = made.starts
        outcome = _attempt(attack, made, stage)
        if attack.spoils:
            made.kill_worker()
        made.ready()
        survived = made.starts == starts
    stage.mended()
    return Outcome(outcome.word, outcome.detail, survived)


def _attempt(attack: Attack, made: Device, stage: Stage) -> Outcome:
    assert attack.attempt is not None
    by = made.capture(by_main=attack.by_main)
    try:
        with by:
            if attack.attempt(by):
                return Outcome("possible", attack.told_by)
    except Died as death:
        if death.signal == signal.SIGSYS:
            return Outcome("killed", "SIGSYS")
        return Outcome("died", f"signal {death.signal}")
    except Stuck:
        return Outcome("stuck", "")
    if by.missing():
        return Outcome("absent", os.strerror(by.errno))
    return Outcome("refused", os.strerror(by.errno))
