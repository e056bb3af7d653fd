"""FUSE as virtio-fs speaks it: from a request's bytes to host system calls, transitions and a reply.

Rooms, each knowing only those before it: `host` (live tables and host calls, the face of the C below `native`), `session`
(what was negotiated, how a session begins and ends, the texts of transitions), `steps` (the meaning of each primitive),
`executor` (plans of specs/fuse/opcodes.py, run in Python and natively), `recovery` (the state back from the journal, and
requests in doubt).

Rules. What changes device state is a plan's step and leaves a transition; what doesn't never waits for the interpreter (I5).
Names are single components, checked before they are used; no path of a guest's reaches a system call.
"""
