"""Composition: what of a worker depends on the options alone. The keeper makes what takes long, each worker is its copy."""

import time
from contextlib import suppress

from device.options.parsing import Options
from device.processes.relay import Kind, Note, frame_of
from device.vhost.messages import BY_CODE, Offer
from device.vhost.session import Session
from device.worker.journal import prepare_specs
from fuse.settings import Settings
from journal.database.relative_names import uri_suffix as prepare_names
from journal.live import INDEX, LivePage
from machine.step import compile_step
from specs.limits import LIMIT
from specs.session import SESSION


def file_settings(options: Options) -> Settings:
    """The file side's part of the options."""
    return Settings(
        cache=options.cache,
        writeback=options.writeback,
        xattr=options.xattr,
        readonly=options.readonly,
        allow_direct_io=options.allow_direct_io,
        inode_flags=options.allow_inode_flags,
        readdirplus=options.readdirplus,
        announce_submounts=options.announce_submounts,
        handles=options.inode_file_handles,
        pool_threads=options.thread_pool_size or LIMIT["pool_threads_default"],
    )


def prepare(options: Options) -> Session:
    """What a new worker would spend milliseconds on while the guest waits; the keeper makes it, each worker is its copy.

    The tables are checked, the specs are written down. The session is one that nothing has happened to.
    """
    prepare_specs()
    compile_step(SESSION)
    with suppress(OSError):  # the worker says so when it needs them
        prepare_names()
    return new_session(options)


def new_session(options: Options) -> Session:
    """A session that nothing has happened to."""
    return Session(Offer(options.request_queues, options.tag))


def only_asks(note: Note) -> bool:
    """Whether it is a message that changes nothing, so that nothing is recorded of it."""
    if note.kind is not Kind.MESSAGE:
        return False
    row = BY_CODE.get(frame_of(note).code)
    return row is not None and row.name.startswith("GET_") and row.reply in ("u64", "config")


def tell_who_serves(page: LivePage, generation: int, pid: int) -> None:
    """On the status page: who serves from now on; the first worker of a daemon begins all counts anew."""
    page.set(
        worker_pid=pid,
        worker_generation=page.words[INDEX["worker_generation"]] + 1,
        held_requests=0,
    )
    if generation == 1:
        page.set(started_ns=time.time_ns(), recoveries=0, quarantined=0, last_nodeid=0, last_fh=0, journal_seq=0)
        page.set(states_lost=0, state_lost_why=0, sealed_transition=0, seal_trouble=0)
