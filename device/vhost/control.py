"""Drives the session: performs its actions on the engine, the journal and the file descriptors.

One object for the whole life of a worker; single-threaded, as the engine wants it.
"""

import fcntl
import logging
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from device.errors import CallerError, PeerError
from device.rings.memory import Region
from device.vhost import actions as do
from device.vhost import serving
from device.vhost.draft import NO_FD
from device.vhost.session import Actions, Reply, Session
from device.vhost.wire import Frame
from machine.crash_points import crash_step
from machine.fold import Records, Transition

log = logging.getLogger("steadfs.control")

DISCONNECT_TRIES = 3  # an engine that is short of something may have it by then; one that is broken hasn't


class Memory(Protocol):
    """See device.rings.memory.GuestMemory."""

    def replace(self, regions: Sequence[Region]) -> None: ...
    def add(self, region: Region) -> None: ...
    def remove(self, gpa: int, uva: int, size: int) -> None: ...


class Vrings(Protocol):
    """See device.rings.vrings.Vrings."""

    def setup(
        self,
        queue: int,
        *,
        num: int,
        desc: int,
        avail: int,
        used: int,
        base: int,
        event_idx: bool,
        indirect: bool,
        keep_inflight: bool = False,
    ) -> None: ...
    def set_kick(self, queue: int, fd: int | None) -> None: ...
    def set_call(self, queue: int, fd: int | None) -> None: ...
    def set_err(self, queue: int, fd: int | None) -> None: ...
    def start(self, queue: int) -> None: ...
    def pause(self, queue: int, *, gone: bool = False) -> None: ...
    def base(self, queue: int) -> int: ...


class Rings(Protocol):
    """What control needs of device.rings.engine.Engine; it raises PeerError, OSError, or CallerError for our own bugs."""

    @property
    def memory(self) -> Memory: ...
    @property
    def vrings(self) -> Vrings: ...
    def set_inflight(self, fd: int, size: int, offset: int, queues: int, queue_size: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What control needs of the worker.

    `record` commits transitions to the journal before it returns. `drain` takes and publishes the stateful requests of
    a paused vring until none is in flight (TimeoutError when that takes too long). `end_session` ends the FUSE session
    and records that by itself; no vring is served while it runs.
    """

    record: Callable[[Sequence[Transition]], None]
    drain: Callable[[int], None]
    end_session: Callable[[str], None]


class Control:
    """Messages in, replies out; everything between is done when a method returns."""

    def __init__(self, session: Session, engine: Rings, callbacks: Callbacks) -> None:
        self.session = session
        self._engine = engine
        self._callbacks = callbacks

    def connect(self) -> Reply:
        """A front-end was accepted; `close` in the reply when there is one already."""
        return self._run(self.session.connect())

    def disconnect(self, reason: str) -> None:
        """The front-end is gone; afterwards another may come. It can't be refused: what fails is tried again, at last by a new
        worker, to whom the keeper says it once more."""
        for _ in range(DISCONNECT_TRIES):
            try:
                self._run(self.session.disconnect(reason))
            except (PeerError, OSError) as error:
                log.error("the front-end is gone, but: %s", error)
                trouble = error
            else:
                return
        raise CallerError(f"what belongs to a front-end that is gone can't be let go of: {trouble}")

    def broken(self, index: int) -> bool:
        """The engine found a vring malformed. False: it could not be stopped, and nothing has changed; say it again."""
        try:
            self._run(self.session.broken(index))
        except (PeerError, OSError) as error:
            log.error("vring %d is broken, but: %s", index, error)
            return False
        return True

    def restore(self, records: Records) -> dict[int, do.StartVring]:
        """Takes over an earlier worker's connection: memory, in-flight region, kick, call and err descriptors.

        Returns the vrings to be served, for `attach` and `resume`. Raises PeerError or OSError when the engine refuses.
        """
        self.session.restore(records)
        ours = self.session.records
        connection = ours["connection"].get(0)
        regions = ours["region"]
        if regions:
            self._engine.memory.replace([_region(region) for region in serving.regions(regions)])
        if connection is not None and connection["inflight_fd"] != NO_FD:
            self._engine.set_inflight(*(connection[field] for field in serving.INFLIGHT_FIELDS))
        nothing: Records = {**ours, "vring": {}}
        for action in serving.changes(nothing, ours):
            self._perform(action)
        return serving.served(ours)

    def attach(self, start: do.StartVring) -> None:
        """Sets a vring up with what is in flight in it; it isn't started, and where it goes on is told later."""
        self._setup(start, start.base, keep_inflight=True)

    def handle(self, frame: Frame, fds: Sequence[int], number: int = 0) -> Reply:
        """Serves one message (`number`: see Session.handle) and takes over its fds.

        The reply's fds are the caller's, to be closed when it is sent.
        """
        reply = self._run(self.session.handle(frame, fds, number))
        if reply.refused is not None and self._worth_a_line():
            log.warning("refused: %s", reply.refused)
        return reply

    def _worth_a_line(self) -> bool:
        """The first refusal, the second, the fourth, the eighth, …: a hostile front-end doesn't fill the log."""
        total = self.session.refusals.total()
        return total & (total - 1) == 0

    def _run(self, actions: Actions) -> Reply:
        """Performs one action after another; what an action can't do the session decides on."""
        answer: Any = None
        failure: Exception | None = None
        while True:
            try:
                action = actions.send(answer) if failure is None else actions.throw(failure)
            except StopIteration as end:
                reply: Reply = end.value
                return reply
            answer, failure = None, None
            try:
                answer = self._perform(action)
            except (PeerError, OSError) as error:
                failure = error

    @crash_step(lambda self, action: type(action).__name__)
    def _perform(self, action: do.Action) -> Any:  # noqa: PLR0911, PLR0912 - one arm for each action, in their order
        engine = self._engine
        match action:
            case do.PauseVring(index, gone):
                engine.vrings.pause(index, gone=gone)
                self._callbacks.drain(index)
                return engine.vrings.base(index)
            case do.ResumeVring(index):
                return self._resume(index)
            case do.StartVring():
                return self._start(action)
            case do.SetMemory(regions):
                return engine.memory.replace([_region(region) for region in regions])
            case do.AddMemory(region):
                return engine.memory.add(_region(region))
            case do.RemoveMemory(region):
                return engine.memory.remove(region.guest_address, region.user_address, region.size)
            case do.SetKick(index, fd):
                return engine.vrings.set_kick(index, _signal_fd(fd))
            case do.SetCall(index, fd):
                return engine.vrings.set_call(index, _signal_fd(fd))
            case do.SetErr(index, fd):
                return engine.vrings.set_err(index, _signal_fd(fd))
            case do.MakeInflight(size):
                return _inflight_file(size)
            case do.SetInflight(fd, size, offset, queues, queue_size):
                return engine.set_inflight(fd, size, offset, queues, queue_size)
            case do.EndSession(reason):
                return self._callbacks.end_session(reason)
            case do.Record(transitions):
                return self._record(transitions)
            case do.CloseFds(fds):
                return _close(fds)

    def _start(self, start: do.StartVring) -> None:
        self._setup(start, start.base, keep_inflight=False)
        self._engine.vrings.start(start.index)
        log.debug("vring %d is served: %d descriptors from %d on", start.index, start.num, start.base)

    def _setup(self, start: do.StartVring, base: int, *, keep_inflight: bool) -> None:
        self._engine.vrings.setup(
            start.index,
            num=start.num,
            desc=start.descriptor,
            avail=start.available,
            used=start.used,
            base=base,
            event_idx=start.event_idx,
            indirect=start.indirect,
            keep_inflight=keep_inflight,
        )

    def _resume(self, index: int) -> None:
        """A vring served a moment ago; if it can't be again, state and engine disagree, and only a new life helps."""
        try:
            self._engine.vrings.start(index)
        except (PeerError, OSError) as error:
            raise CallerError(f"vring {index} could be paused but not resumed: {error}") from error

    def _record(self, transitions: Sequence[Transition]) -> None:
        """A journal that can't be written ends the worker: the session must not take it for the peer's fault."""
        try:
            self._callbacks.record(transitions)
        except (PeerError, OSError) as error:
            raise CallerError(f"the journal could not be written: {error}") from error


def _region(region: do.MemoryRegion) -> Region:
    return Region(region.guest_address, region.size, region.user_address, region.mmap_offset, region.fd)


def _close(fds: Sequence[int]) -> None:
    """Each is closed, also one of a file system that reports an error by the way."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError as error:
            log.warning("descriptor %d: %s", fd, error)


def _signal_fd(fd: int | None) -> int | None:
    """An eventfd, or the pipe that User-Mode Linux uses as one; a file is always readable: a thread would spin."""
    if fd is not None and stat.S_IFMT(os.fstat(fd).st_mode) not in (0, stat.S_IFIFO, stat.S_IFSOCK):
        raise PeerError("a descriptor that is no eventfd")
    return fd


def _inflight_file(size: int) -> int:
    """Zeroed memory on the kernel's own tmpfs, of a size that the front-end can't change under us."""
    fd = os.memfd_create("steadfs-inflight", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.truncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd
