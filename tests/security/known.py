"""What a captured worker can do to us, as far as it is known: `make attacks` must find this and no more."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Open:
    """`where`: names of subjects. `why` it is left so."""

    where: frozenset[str]
    why: str


OPEN: dict[str, Open] = {}
"""An attack's name -> where it works."""
