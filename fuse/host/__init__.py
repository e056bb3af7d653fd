"""The live tables of inodes, handles and mounts, and the host's system calls: the typed face of fuse/native. A `Host`
holds them: `inodes`, `handles`, `mounts`, `budget` (of descriptors), `loader` (what an earlier worker left), `looks`, and
`changes`, which alone may change files.

Who owns which descriptor: the tables own what their records name, and give it up only when the deletion is committed
(`settle`); a step owns what it opened until a table takes it over.
"""
