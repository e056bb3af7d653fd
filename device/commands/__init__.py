"""Composition: the programs `steadfsd` and `steadfsctl`.

Rules. An operator gets one line and an exit code, never a traceback. What a launcher of virtiofsd expects holds: the process
does not daemonise itself, ends on SIGTERM, and `--print-capabilities` prints JSON.
"""
