"""Guardian, keeper, worker and spare: processes with one table of descriptors, of which any may die.

Theory. What outlives a process is either in the shared table of descriptors or in the shared page, a memfd that all map.
The kernel itself stores the outcome of a system call there, so that there is no instruction at which it is unknown whether a
message was taken, an answer sent, a process made. A new process completes what the page says.

Rules. A descriptor is first no longer named, then closed. Guardian and keeper are of one thread each, so that they may be
cloned; neither opens the journal or maps guest memory. Nobody but the keeper talks to the front-end.

Warning. A worker may be captured: what it can write is input here, and is checked like a guest's.
"""
