"""What a captured worker can do to us, as far as it is known: `make attacks` must find this and no more."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Open:
    """`where`: names of subjects. `why` it is left so."""

    where: frozenset[str]
    why: str


_ALL = frozenset({"namespace", "chroot", "none", "user-namespace", "user-none"})

OPEN: dict[str, Open] = {
    "write its own journal's file": Open(_ALL, "The journal's present is the worker's own to write."),
}
"""An attack's name -> where it works."""
