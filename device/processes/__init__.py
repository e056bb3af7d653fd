"""Guardian, keeper, worker and spare: processes with one table of descriptors, of which any may die.

Theory. What outlives a process is either in the shared table of descriptors or in the shared page, of which workers map less.
The kernel itself stores the outcome of a system call there, so that there is no instruction at which it is unknown whether a
message was taken, an answer sent, a process made. A new process completes what the page says.

Rules. Each state in the page is a word of a machine in specs/, and only `SharedPage.move` stores it. A state is entered before
its first step and left after its last; each step may be done twice. A descriptor is first no longer named, then closed. There
is one way to become a worker: to be a spare that is promoted. Guardian and keeper are of one thread each, so that they may be
cloned; neither opens the journal or maps guest memory. Only the keeper talks to the front-end.

Warning. A worker may be captured: what it can write is input here, and is checked like a guest's. Any descriptor may lead
elsewhere by the time it is used, so no process is killed by one: docs/decisions/the-keeper-believes-no-worker.md.
"""
