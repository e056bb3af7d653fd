"""Composition: what is told to the journal, and what is noted beside it. Nothing is answered before it is committed (I1)."""

from collections.abc import Sequence

from device.recovery import connection_copy
from device.rings.state_lane import StateLane
from device.vhost.session import Session
from device.worker.journal import disbelieve
from device.worker.lifeline import Lifeline
from device.worker.prepared import Prepared
from journal import Journal, encode
from journal.errors import JournalFailed, JournalFull
from journal.live import INDEX, LivePage
from machine.fold import Record, Transition

_LAST_NODEID, _LAST_FH = INDEX["last_nodeid"], INDEX["last_fh"]
_JOURNAL_SEQ, _CHECKPOINT_SEQ = INDEX["journal_seq"], INDEX["checkpoint_seq"]


class Recorder:
    """`lane` and `session` are set once there are such: both ask for commits, and the journal's checkpoint for records."""

    lane: StateLane
    session: Session
    journal: Journal

    def __init__(self, prepared: Prepared, live: LivePage, lifeline: Lifeline) -> None:
        self._prepared = prepared
        self._live = live
        self._lifeline = lifeline

    def record_of(self, table: str, key: int) -> Record | None:
        """The live record, as the journal's checkpoint wants it."""
        if table in self.session.records:
            return self.session.records[table].get(key)
        return self._prepared.executor.record_of(table, key)

    def record(self, transitions: Sequence[Transition]) -> None:
        """Commits what the control plane did. Effects on other records than the machine's own are told to the journal one by
        one."""
        for transition in transitions:
            self.journal.pending.add(encode(transition), transition.machine, transition.key)
            for verb, table, *rest in transition.effects:
                if verb == "clear":
                    self.journal.pending.add_clear(table)
                elif (table, rest[0]) != (transition.machine, transition.key):
                    self.journal.pending.touch(table, rest[0])
        self.commit_now()

    def record_control(self, transitions: Sequence[Transition]) -> None:
        """What the session asks for; it takes the records over when this has returned."""
        self.record(transitions)
        connection_copy.write(self.journal.directory, self.session.records_after(transitions))

    def commit_now(self) -> None:
        """Also where a new session's epoch is known first: slots of later requests carry it."""
        self.lane.commit_or_hold()
        self._live.words[_JOURNAL_SEQ] = self.journal.last_seq
        self._prepared.engine.set_epoch(self._prepared.executor.state.record["epoch"])

    def commit_batch(self) -> None:
        """Numbers of inodes and handles that the guest will learn of are noted first: they are never given twice."""
        self._lifeline.progress()
        state, words = self._prepared.executor.state, self._live.words
        words[_LAST_NODEID], words[_LAST_FH] = state.last_nodeid, state.last_fh
        self._check_loaded()
        words[_JOURNAL_SEQ] = self.journal.commit()

    def tidy(self) -> bool:
        """Checkpoints and trims a little; whether there is more to do."""
        try:
            more = self.journal.tidy()
        except (JournalFull, JournalFailed):
            return False
        self._live.words[_CHECKPOINT_SEQ] = self.journal.checkpoint_seq
        return more

    def load(self) -> bool:
        """A little of what this worker has not loaded yet; whether there is more."""
        loading = self._prepared.files.loading
        if loading is None or not loading.on:
            return False
        try:
            loading.some()
        except ValueError as error:
            disbelieve(self.journal, str(error))
        return loading.on

    def _check_loaded(self) -> None:
        """Before a commit: what a request found missing because it could not be loaded is no answer."""
        loading = self._prepared.files.loading
        if loading is not None:
            try:
                loading.check()
            except ValueError as error:
                disbelieve(self.journal, str(error))
