"""Seals: where the chain ended at a time, noted with a key that no worker has, so that a captured worker can't change the past.

Rules. A seal says what the worker claimed at a time, and nothing more: a later change of what lies before it contradicts it.
Each seal has a key of its own, made of the one before by a function that nobody can turn back, and is on the disk before its
key is gone. Whatever comes from a worker is eight numbers: none of them is believed, and none can be too large.

Theory. The sealer is a process of its own, forked before the sandbox and before there is a keeper, so that neither its memory
nor its descriptors are in a worker's reach; a worker is a copy of the keeper. A second process, which holds no key, makes
another sealer when one dies; if that one dies, the sealer takes its place. `page` is what the worker says, `sealer` writes
`seal`s into `files` with the `key`, `start` is the daemon's side.

Warning. Any of these processes may die between any two steps, and the host may. docs/seals.md has the formats.
"""
