"""FORGET and BATCH_FORGET: lookup counts come back. Neither has a reply; what makes no sense is counted and dropped."""

import errno

from fuse.operation import Operation
from fuse.session.record import inode_forget, inode_forget_last, mount_delete
from fuse.steps.primitive import Services, primitive
from fuse.wire import FORGET_ONE, FUSE_ROOT_ID
from specs.limits import LIMIT
from specs.tables import ALL_FORGOTTEN, INODE, MOUNT, MOUNT_LEFT, SOME_FORGOTTEN

_COUNT_MAX = (1 << 63) - 1
"""What the table of inodes counts with."""
_FORGETS_MAX = LIMIT["forgets_max_per_request"]


def forget(x: Services, op: Operation, nodeid: int, nlookup: int) -> None:
    """A guest that gives back more than it got loses the inode and nothing else. A mount goes with its last inode."""
    if nlookup == 0 or nodeid == FUSE_ROOT_ID:
        return
    left = x.host.inodes.nlookup_add(nodeid, -nlookup) if nlookup <= _COUNT_MAX else -errno.ERANGE
    if left > 0:
        op.records.append((inode_forget(nodeid, x.request_of(op), nlookup), INODE.name, nodeid, SOME_FORGOTTEN.event))
        return
    if left == -errno.ENOENT:
        x.counts["forget of an unknown nodeid"] += 1
        return
    if left < 0:
        x.counts["forget of more lookups than were given"] += 1
    if x.host.inodes.delete(nodeid) < 0:
        return
    op.records.append((inode_forget_last(nodeid, x.request_of(op)), INODE.name, nodeid, ALL_FORGOTTEN.event))
    while mnt_id := x.host.mounts.leave():
        op.records.append((mount_delete(mnt_id, x.request_of(op)), MOUNT.name, mnt_id, MOUNT_LEFT.event))


@primitive
def forget_one(x: Services, op: Operation) -> int:
    forget(x, op, op.nodeid, op.args[0])
    return 0


@primitive
def forget_many(x: Services, op: Operation) -> int:
    """args = count, dummy; then `count` times (nodeid, nlookup), of which only what was really sent is read."""
    sent = len(op.data) // FORGET_ONE.size
    count = min(op.args[0], sent, _FORGETS_MAX)
    if count < op.args[0]:
        x.counts["batch of forgets shorter than it says"] += 1
    for nodeid, nlookup in FORGET_ONE.iter_unpack(op.data[: count * FORGET_ONE.size]):
        forget(x, op, nodeid, nlookup)
    return 0
