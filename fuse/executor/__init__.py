"""Two executors that give the plans of specs/fuse/opcodes.py their meaning.

`reference` runs them step by step in Python: it is readable, it is recovery's, and tests hold the other against it. `native`
has C run those that it can (fuse/native/state_lane), with the same replies and the same transitions, byte for byte. `ready`
compiles a row for both.
"""
