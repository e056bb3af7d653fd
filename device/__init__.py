"""The vhost-user device: a front-end's messages, a guest's rings, and the processes that outlive one another.

Rooms, each knowing only those before it: `rings` and `native` (C), `vhost`, `sandbox`, `options`, `processes`, `recovery`,
`worker`, `commands`. `worker` and `commands` are the composition root: only they import `fuse` and `journal`.
"""
