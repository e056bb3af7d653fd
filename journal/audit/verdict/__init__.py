"""Is it whole? Each part of a journal is held against the others, and what does not fit is a finding.

Rule. Nothing is believed because we wrote it: every value may have been altered, and must end in a finding, not a traceback.
"""
