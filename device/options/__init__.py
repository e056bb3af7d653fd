"""The command line of steadfsd: one row per option; parsing, `--help` and docs/options.md are read off the rows.

Rules. An option of virtiofsd has virtiofsd's spelling, meaning and default. A wrong one ends in one line that names the
option and the remedy, and in an exit code of its own (device/exits.py).
"""
