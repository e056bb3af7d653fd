"""Composition: the process that serves. It wires rings, file side and journal, and runs the main loop.

Here alone `device`, `fuse` and `journal` meet. What depends on the options only is made before there is a death to wait for
(`parts`, `prepared`), and a spare goes through it all once beforehand (`rehearsal`), since a guest waits for the real one.

Rule. A worker that does not end in order leaves the table of descriptors alone: its successor goes on with what is in it.
"""
