"""All machines whose records the journal keeps, in the order in which they are shown; and the request's, kept in
slots, and the worker's, kept in the keeper's page."""

from specs.connection import CONNECTION
from specs.request import REQUEST
from specs.session import SESSION
from specs.tables import HANDLE, INODE, MOUNT
from specs.vring import REGION, VRING
from specs.worker import WORKER

JOURNALED = (CONNECTION, REGION, VRING, SESSION, MOUNT, INODE, HANDLE)
MACHINES = (*JOURNALED, REQUEST, WORKER)
