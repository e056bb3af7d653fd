"""The front-end's connection as the keeper holds it, and a message of it on its way in: two words of the shared page.

A keeper may be killed between any two of its instructions, and the next one remembers nothing. So a state says what may be
half done, and the rows are what a keeper that finds the word may do next. A state is entered before the first step that
belongs to it and left after the last; in between every step can be done a second time.
"""

from machine.table import Event, Refusal, Row, Table

# none          No connection. `front_fd` leads to nothing.
# accepting     accept(2) may have been called: a connection may be open that no word names. A new keeper finds it by its
#               address. If the worker was asked about a connection already, it stands in `front_fd`.
# open          `front_fd` is the connection, and the worker was asked to take it.
# turning_away  As open, and accept(2) may have given another connection, which is to be closed.
# leaving       The connection is to be closed and the worker to be told `reason`. Both may have been done: to close it again
#               does nothing, and the relay's own state says whether the worker was asked.
_CONNECTED = ("open", "turning_away", "leaving")

FRONT = Table(
    name="front",
    key="always 0",
    states=("none", "accepting", *_CONNECTED),
    absent="none",
    events=(
        Event("accept", "the listening socket is readable; accept(2) comes next"),
        Event("connect", "the connection is in its place, and the worker was asked to take it"),
        Event("nobody", "whoever wanted to connect has gone again"),
        Event("turned_away", "a second front-end's connection, if there was one, is closed"),
        Event("hang_up", "the front-end closed the socket or broke the protocol, or the worker can't go on with it"),
        Event("gone", "the connection is closed, and the worker has answered that it knows"),
    ),
    rows=(
        Row(("none",), ("accept",), "accepting"),
        Row(("open",), ("accept",), "turning_away", cite="vhost-user.rst knows one front-end at a time"),
        Row(("accepting",), ("connect",), "open"),
        Row(("accepting",), ("nobody",), "none"),
        Row(("turning_away",), ("turned_away",), "open"),
        Row(("open",), ("hang_up",), "leaving"),
        Row(("leaving",), ("gone",), "none"),
    ),
    refusals=(
        Refusal(("accepting", "turning_away", "leaving"), ("accept",), "bug", "what is half done is completed before"),
        Refusal(("none", *_CONNECTED), ("connect", "nobody"), "bug", "nobody was being accepted"),
        Refusal(("none", "accepting", "open", "leaving"), ("turned_away",), "bug", "nobody was being turned away"),
        Refusal(("none", "leaving"), ("hang_up",), "ignore", "it goes already, or has gone"),
        Refusal(("accepting", "turning_away"), ("hang_up",), "bug", "a new keeper completes these before it reads or sends"),
        Refusal(("none",), ("gone",), "ignore", "a keeper died after this store and before the relay's: it is done again"),
        Refusal(("accepting", "open", "turning_away"), ("gone",), "bug", "it is closed only when it is to leave"),
    ),
    fields=("state",),
    doc="At most one front-end at a time; whoever else comes is turned away.",
    cite="ARCHITECTURE.md, The keeper dies, or the guardian",
)

# What only the kernel knows at a death it stores itself: recvmmsg(2) stores `msg_len` with the bytes. Before the call it is
# set to 0, and `read_at` to where the bytes shall go, so that a keeper that finds `first` or `rest` knows how far it came:
# `read_at` and `msg_len` together. Descriptors come with a message's first byte, so that call has a buffer for them.
INCOMING = Table(
    name="incoming",
    key="always 0",
    states=("still", "first", "rest"),
    absent="still",
    events=(
        Event("read_first", "recvmmsg(2) comes next, with room for descriptors: no byte of the message is there"),
        Event("read_rest", "recvmmsg(2) comes next: some bytes of the message are there"),
        Event("settle", "what the call has stored is counted in `frame_bytes`"),
    ),
    rows=(
        Row(("still",), ("read_first",), "first"),
        Row(("still",), ("read_rest",), "rest"),
        Row(("first", "rest"), ("settle",), "still"),
    ),
    refusals=(
        Refusal(("first", "rest"), ("read_first", "read_rest"), "bug", "one call at a time, and counted before the next"),
        Refusal(("still",), ("settle",), "ignore", "no call was under way"),
    ),
    fields=("state",),
    doc="No byte and no descriptor of a message is lost with the keeper that was receiving it.",
    cite="recvmmsg(2); vhost-user.rst, Communication",
)
