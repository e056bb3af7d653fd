"""The auditors' tool, `steadfs-audit`: is a journal whole, and what did the guest do?

It judges a journal by the specs that the journal itself carries, never by those of this version, and reads copies only.
docs/audit.md describes the commands and what they print.
"""
