"""After a death: the tables from the journal, and requests whose outcome is in doubt.

`replay` takes mounts and handles over at once, inodes when somebody asks for them (`loading`). A request that may or may not
have taken effect is decided by what was stored before its system call (`witness`); see specs/recovery.py.
"""
