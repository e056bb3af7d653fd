"""The composition root: wires engine, session, executor and journal, and runs the loop of the worker.

One thread of Python: it answers the front-end, executes stateful requests, commits, tidies the journal. The data lane runs
in native threads beside it and never waits for it.
"""

import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from device import slots
from device.channel import Channel, Disconnected
from device.control import Control
from device.control import Host as ControlHost
from device.engine import Engine
from device.errors import CallerError
from device.exits import Exit
from device.listener import Listener, adopt, listen_at
from device.messages import Offer
from device.options import Options
from device.share import open_share
from device.state_lane import StateLane
from device.wire import StreamError
from fuse.executor import Executor
from fuse.host import Host
from fuse.settings import Settings
from journal import Hold, Journal, default_directory, encode
from journal.errors import JournalFailed, JournalFull
from journal.live import INDEX, LivePage
from machine.canonical import canonical, digest
from machine.fold import Record, Transition
from specs.catalog import CATALOG
from specs.limits import LIMITS
from specs.machines import JOURNALED

logger = logging.getLogger("steadfs.worker")

_LIMIT = {row.name: row.value for row in LIMITS}
_LOOK_EVERY_S = 0.1
"""How often the worker renews the status page and looks whether a vring has broken."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Worker:
    """Owns everything that serves one share; `close` lets go of it in reverse order."""

    def __init__(self, options: Options, listener: Listener, hold: Hold) -> None:
        self._options = options
        self._listener = listener
        self._channel: Channel | None = None
        self._ending = False
        self._look_at = 0.0
        self._breaks: dict[int, int] = {}
        share_fd = open_share(options.shared_dir)
        settings = _settings(options)
        self.host = Host(share_fd, settings)
        self.journal = _open_journal(options, hold, self.record_of)
        self.live = _begin_live(hold)
        self.executor = Executor(self.host, settings, self.journal, self._commit_now)
        self.engine = Engine(
            queues=1 + options.request_queues,
            ops=self.host.lane_ops,
            pool_threads=options.thread_pool_size or _LIMIT["pool_threads_default"],
            poll_ns_max=options.poll_ns_max,
        )
        self._slots_fd = _make_slots(hold, 1 + options.request_queues, self.live)
        self.engine.set_slots(self._slots_fd)
        self.lane = StateLane(
            self.engine,
            self.executor.run,
            self.journal.commit,
            self.host.settle,
            (JournalFull, JournalFailed),
            lambda: self._ending,
        )
        self.control = Control(
            Offer(options.request_queues, options.tag),
            self.engine,
            ControlHost(self._record, self._drain, self._end_session),
        )
        self._poll = select.epoll()
        self._wakeup, self._wakeup_write = socket.socketpair()

    def start(self) -> None:
        """Begins this life in the journal: what an earlier one left is cleared, then the device is offered."""
        recovered = self.journal.take_recovered()
        if recovered is not None:
            self._end_earlier_life(recovered.records)
        self.executor.lifecycle.start()
        self._watch(self._listener.fileno())
        self._watch(self.engine.doorbell_fd)
        self._wakeup.setblocking(False)
        self._wakeup_write.setblocking(False)
        signal.set_wakeup_fd(self._wakeup_write.fileno())
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        self._watch(self._wakeup.fileno())
        self._update_live()

    def serve(self) -> int:
        """The loop; returns when the front-end is gone (unless it is to wait for another) or a signal says so."""
        busy = True
        while not self._ending:
            for fd, _ in self._poll.poll(0 if busy else _LOOK_EVERY_S):
                self._ready(fd)
            more = self.lane.serve()
            busy = self._tidy() or more
            now = time.monotonic()
            if now >= self._look_at:
                self._look_at = now + _LOOK_EVERY_S
                self._look_for_broken_vrings()
                self._update_live()
        if self._channel is not None:
            self._hang_up("the daemon ends")
        return Exit.OK

    def close(self) -> None:
        """Ends in order: vrings first, so that no thread is left that uses what follows."""
        signal.set_wakeup_fd(-1)
        self.engine.close()
        self.host.close()
        os.close(self._slots_fd)
        self.live.close()
        self.journal.close()
        self._poll.close()
        self._wakeup.close()
        self._wakeup_write.close()

    # --- events

    def _watch(self, fd: int) -> None:
        self._poll.register(fd, select.EPOLLIN)

    def _ready(self, fd: int) -> None:
        if self._channel is not None and fd == self._channel.fileno():
            self._messages(self._channel)
        elif fd == self._listener.fileno():
            self._accept()
        elif fd == self._wakeup.fileno():
            self._wakeup.recv(4096)

    def _on_signal(self, number: int, _frame: Any) -> None:
        logger.info("ending on %s", signal.Signals(number).name)
        self._ending = True

    def _accept(self) -> None:
        channel = self._listener.accept()
        if channel is None:
            return
        if self._channel is not None and _has_gone(self._channel):
            self._messages(self._channel)
        if self._channel is not None:
            logger.warning("a second front-end was turned away; one at a time")
            channel.close()
            return
        self.control.connect()
        self._channel = channel
        self._watch(channel.fileno())
        logger.info("front-end connected")

    def _messages(self, channel: Channel) -> None:
        try:
            for received in channel.messages():
                reply = self.control.handle(received.frame, received.fds)
                try:
                    if reply.frame is not None:
                        channel.send(reply.frame, reply.fds)
                finally:
                    for fd in reply.fds:
                        os.close(fd)
                if reply.close:
                    raise StreamError(reply.refused or "the connection can't go on")
        except (Disconnected, StreamError) as error:
            self._hang_up(str(error))

    def _hang_up(self, why: str) -> None:
        channel = self._channel
        if channel is None:
            return
        self._channel = None
        self._poll.unregister(channel.fileno())
        channel.close()
        self.control.disconnect(why)
        logger.info("front-end gone: %s", why)
        if not self._options.keep_listening:
            self._ending = True

    def _look_for_broken_vrings(self) -> None:
        for index in range(self.engine.queues):
            why = self.engine.broken(index)
            if why is None:
                continue
            # Counted, since a vring may be mended and break again between two looks.
            breaks = self.engine.counters(index)["broken"]
            if breaks != self._breaks.get(index):
                self._breaks[index] = breaks
                logger.error("vring %d is broken: %s", index, why)
                # A vring that was stopped meanwhile has begun anew, or will: this break is none of its next start.
                vring = self.control.session.records["vring"].get(index)
                if vring is not None and vring["state"] == "started_enabled":
                    self.control.broken(index)

    # --- what the session needs

    def _record(self, transitions: Sequence[Transition]) -> None:
        """Effects on other records than the machine's own are told to the journal one by one."""
        for transition in transitions:
            self.journal.add(encode(transition), transition.machine, transition.key)
            for verb, table, *rest in transition.effects:
                if verb == "clear":
                    self.journal.add_clear(table)
                elif (table, rest[0]) != (transition.machine, transition.key):
                    self.journal.touch(table, rest[0])
        self._commit_now()

    def _commit_now(self) -> None:
        """Also where a new session's epoch is known first: slots of later requests carry it."""
        self.lane.commit_or_hold()
        self.engine.set_epoch(self.executor.state.record["epoch"])

    def _drain(self, queue: int) -> None:
        self.lane.drain()
        if self.engine.in_flight(queue) != 0:
            raise CallerError(f"vring {queue} has requests in flight that nobody works on")

    def _end_session(self, reason: str) -> None:
        self.executor.lifecycle.reset()
        logger.info("FUSE session ended: %s", reason)

    def _end_earlier_life(self, records: dict[str, dict[int, Record]]) -> None:
        """Nothing of an earlier life is left but its record: no descriptor, no front-end."""
        session = records["session"].get(0)
        if session is not None:
            self.executor.state.adopt(session)
        connection = records["connection"].get(0)
        if connection is not None:
            effects: list[list[Any]] = [["delete", "connection", 0], ["clear", "region"], ["clear", "vring"]]
            self._record([Transition("connection", 0, "disconnect", connection["state"], "disconnected", None, effects, None)])

    # --- journal

    def record_of(self, table: str, key: int) -> Record | None:
        """The live record, as the journal's checkpoint wants it."""
        if table in self.control.session.records:
            return self.control.session.records[table].get(key)
        return self.executor.record_of(table, key)

    def _tidy(self) -> bool:
        try:
            return self.journal.tidy()
        except (JournalFull, JournalFailed):
            return False

    def _update_live(self) -> None:
        self.live.set(
            session_epoch=self.executor.state.record["epoch"],
            journal_seq=self.journal.last_seq,
            checkpoint_seq=self.journal.checkpoint_seq,
            inodes=self.host.inodes_count(),
            handles=self.host.handles_count(),
            held_requests=self.lane.held,
        )


def _has_gone(channel: Channel) -> bool:
    """Whether the front-end has closed its end: a listener may be ready in the same round, before the channel is."""
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


def _settings(options: Options) -> Settings:
    return Settings(
        cache=options.cache,
        writeback=options.writeback,
        xattr=options.xattr,
        readonly=options.readonly,
        allow_direct_io=options.allow_direct_io,
        readdirplus=options.readdirplus,
        announce_submounts=options.announce_submounts,
        handles=options.inode_file_handles,
    )


def _open_journal(options: Options, hold: Hold, source: Callable[[str, int], Record | None]) -> Journal:
    text = canonical(CATALOG)
    return Journal.open(
        hold.directory,
        tables={table.name: table for table in JOURNALED},
        specs_json=text,
        specs_digest=bytes.fromhex(digest(text)),
        source=source,
        on_disk=options.journal_on_disk,
        hold=hold,
    )


def _begin_live(hold: Hold) -> LivePage:
    page = LivePage(hold.directory)
    generation = page.words[INDEX["worker_generation"]] + 1
    pid = os.getpid()
    page.set(keeper_pid=pid, worker_pid=pid, worker_generation=generation, started_ns=time.time_ns(), held_requests=0)
    return page


def _make_slots(hold: Hold, queues: int, live: LivePage) -> int:
    """The slots of an earlier life name requests of a device that is gone; they begin anew."""
    path = hold.directory / "slots"
    path.unlink(missing_ok=True)
    return slots.create(path, queues=queues, generation=live.words[INDEX["worker_generation"]])


def run(options: Options) -> int:
    """Serves until the front-end has gone; returns the exit code. Raises OperatorError, JournalError."""
    for number in _SIGNALS:
        signal.signal(number, _end_early)
    directory = options.journal_dir or default_directory(_journal_name(options))
    hold = Hold.take(directory, options.journal_on_disk)
    try:
        listener = _listen(options)
        try:
            worker = Worker(options, listener, hold)
            try:
                worker.start()
                return worker.serve()
            finally:
                worker.close()
        finally:
            listener.close()
    finally:
        hold.release()
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # what is left to do is to end; a late signal must not spoil the status


def _end_early(number: int, _frame: Any) -> None:
    """A signal before `start`: nothing is served yet, so unwinding is all there is to do."""
    raise SystemExit(int(Exit.OK))


def _journal_name(options: Options) -> str:
    """One directory for each place where a front-end may connect, so that a restart finds its journal again."""
    where = str(options.socket_path.absolute()) if options.socket_path else f"fd-{os.getpid()}"
    return where.strip("/").replace("/", "_")


def _listen(options: Options) -> Listener:
    if options.fd is not None:
        return adopt(options.fd)
    if options.socket_path is None:
        raise CallerError("neither a socket path nor a descriptor")
    return listen_at(options.socket_path, group=options.socket_group)
