"""What an auditor has: rows of a copied journal and its archive, the specs they carry, the slots, and what they prove.

Rules. Whatever is read may have been altered or made by another program. Each value is checked for its kind before it is used;
what can't be read raises JournalDamaged or becomes a finding. A live journal is read from a private copy.

Theory. History may be incomplete: rows were deleted, or an archive dropped some. So a state is partial (`partial_state`). Of
each record it tells what the rows prove, or that there is none, or nothing.

Warning. The slots are read before the journal is copied, never after: docs/decisions/auditors-read-slots-in-plain-python.md.
"""
