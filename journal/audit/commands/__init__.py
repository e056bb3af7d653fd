"""The commands of `steadfs-audit`, a module each: `arguments` declares its options, `run` does it and returns an exit code.

Rules. Each answers as lines or, with --json, as one document; docs/audit.md has every field, and fields stay as they are. A
command writes only the file that its user named. Errors are raised; `cli` turns them into a line and a code of `exits`.
"""
