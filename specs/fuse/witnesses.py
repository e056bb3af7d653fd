"""What a worker stores in a request's slot before it changes the host, so that the next one can tell whether it did."""

from machine.rows import Witness

# A witness is a picture of the little that the system call will change, taken just before. A later worker compares: if the
# picture still fits, the call was never made (or failed, and will fail again); if it doesn't, the call was made. That is only
# sound because no other request may change the same between the two: one worker executes one stateful request at a time.
# What somebody else does on the host at this moment can deceive it; such races exist without any crash as well.
#
# `fuse/recovery/witness.py` takes these pictures and reads them; C (state_replies.c) takes those of `native`, and
# fuse/native/data_lane/append.c its own.
WITNESSES = (
    Witness("none", (), "", "none", "nothing is stored: a second time changes nothing more, or the journal decides"),
    Witness("name_absent", ("dev", "ino"), "state", "name", "who has the name that is to be made; zeros: nobody"),
    Witness("victim", ("dev", "ino"), "state", "name", "who has the name that is to go"),
    Witness("both_names", ("dev", "ino", "dev2", "ino2"), "state", "names", "who has the old name, and who the new one"),
    Witness("xattr_set", ("present", "digest"), "state", "", "whether the attribute is there, and a digest of its value"),
    Witness("xattr_gone", ("present", "digest"), "state", "", "the same, for one that is to go"),
    Witness(
        "size_and_now", ("size", "ctime_ns", "now_ns"), "state", "",
        "size and change time, for a truncation; and what \"now\" means, for times, 0 when they don't ask for it",
    ),
    Witness("truncation", ("size", "ctime_ns"), "state", "declined", "the same for O_TRUNC; without that nothing is stored"),
    Witness("append_end", ("end", "progress"), "data", "", "where the file ended, and how much of the request was in it"),
    Witness(
        "uncommitted_fd", (), "", "",
        "nothing is stored: a descriptor that no committed row names is closed by the next worker, and the file goes with it",
    ),
)  # fmt: skip
