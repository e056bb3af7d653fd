"""Is it whole? Each part of a journal is held against the others, and what does not fit is a finding.

Rule. Nothing is believed because we wrote it: every value may have been altered, and must end in a finding, not a traceback.

Theory. One pass over the rows, in order. Each is judged by the chain, by the journal's own specs and by the state that the rows
before it led to; a stored record is compared when the pass reaches the transition at which it stands. After a bad row the pass
goes on from what that row says itself, so that one bad row is one finding.

Warning. A finding must not follow from an earlier one: where rows are missing, nothing is known of the records any more.
"""
