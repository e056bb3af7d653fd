"""What a new worker makes of the requests that the one before had in flight.

Theory. A request is in flight unless its slot is free, or published with a used index that has passed it. Its slot, the
journal and guest memory tell how far it came; `decisions` reads these facts and asks specs/recovery.py, which has a row for
every combination. `resubmission` does what the row says, in the order in which the requests were popped. Where slots are
damaged, `damaged_slots` reads what the rings alone tell; where the journal is, `connection_copy` has the front-end's part.
"""
