"""All machines: those whose records the journal keeps, in the order in which they are shown; the request's, kept in slots; and
those whose state is one word of the page that guardian, keeper and worker share."""

from specs.connection import CONNECTION
from specs.front import FRONT, INCOMING
from specs.relay import RELAY
from specs.request import REQUEST
from specs.session import SESSION
from specs.tables import HANDLE, INODE, MOUNT
from specs.vring import REGION, VRING
from specs.worker import WORKER

JOURNALED = (CONNECTION, REGION, VRING, SESSION, MOUNT, INODE, HANDLE)
SHARED = (WORKER, FRONT, INCOMING, RELAY)
MACHINES = (*JOURNALED, REQUEST, *SHARED)
