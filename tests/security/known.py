"""What a captured worker can do to us, as far as it is known: `make attacks` must find this and no more."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Open:
    """`where`: names of subjects. `why` it is left so."""

    where: frozenset[str]
    why: str


_ALL = frozenset({"namespace", "unfiltered", "chroot", "none", "user-namespace", "user-none"})
_ONLY_THE_FILTER = Open(frozenset({"unfiltered"}), "Where the filter of system calls is left out, nothing else keeps a worker")

_NOTHING_HOLDS_THEM = Open(
    frozenset({"none", "user-none"}),
    "`--sandbox=none` leaves a worker what Landlock doesn't hold: of files outside, that they are there, "
    "modes, owners and times.",
)

OPEN: dict[str, Open] = {
    "write its own journal's file": Open(_ALL, "The journal's present is the worker's own to write."),
    **dict.fromkeys(
        (
            "execute a memfd",
            "map memory that can be written and executed",
            "make another process",
            "io_uring_setup(2)",
            "add_key(2)",
            "keyctl(2): the user's keyring",
            "a vsock socket",
            "a netlink socket",
        ),
        _ONLY_THE_FILTER,
    ),
    **dict.fromkeys(
        ("see that a file outside is there, by stat(2)", "change a file's mode outside", "set a file's times outside"),
        _NOTHING_HOLDS_THEM,
    ),
    "give a file outside to another group": Open(frozenset({"none"}), _NOTHING_HOLDS_THEM.why),
}
"""An attack's name -> where it works."""
