"""The auditors' tool, `steadfs-audit`: is a journal whole, and what did the guest do?

Rules. A journal is judged by the specs that the journal itself carries, never by those of this version; only the layout of the
slots is this version's, and its number is checked. Copies are read, and nothing is written beside them.

docs/audit.md describes the commands and what they print.
"""
