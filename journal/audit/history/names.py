"""Which names the guest knows for its inodes, from the requests that made, looked up, moved and removed them."""

from typing import Any

from journal.audit.output import shown

ROOT = 1
DEPTH_MAX = 2048
"""PATH_MAX is 4096 bytes: no path has more components. A forged journal may hold a loop."""

RENAME_EXCHANGE = 2
"""renameat2(2)"""

Place = tuple[int, bytes]
"""Nodeid of the directory, name in it."""


def name_bytes(value: Any) -> bytes | None:
    """A name as the journal has it: a string, or its bytes in hexadecimal; None for what is no name."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, dict) and isinstance(value.get("hex"), str):
        try:
            return bytes.fromhex(value["hex"])
        except ValueError:
            return None
    return None


class Names:
    """Names of live nodeids. An inode without a name that the journal tells is shown by its number: `#17`."""

    def __init__(self) -> None:
        self._inode_at: dict[Place, int] = {}
        self._places: dict[int, list[Place]] = {}
        self._lost: dict[int, str] = {}
        """By nodeid: the last path of an inode all of whose names were removed."""

    def at(self, directory: int, name: bytes) -> int | None:
        """The nodeid under this name, if the guest was told."""
        return self._inode_at.get((directory, name))

    def enter(self, nodeid: int, directory: int, name: bytes) -> None:
        """A reply named the inode at this place."""
        place = (directory, name)
        if self._inode_at.get(place) == nodeid or nodeid == ROOT:
            return
        self.remove(directory, name)
        self._inode_at[place] = nodeid
        self._places.setdefault(nodeid, []).append(place)
        self._lost.pop(nodeid, None)

    def remove(self, directory: int, name: bytes) -> None:
        """The name is gone; the inode may live on without one."""
        nodeid = self._inode_at.get((directory, name))
        if nodeid is None:
            return
        path = self.path(nodeid)
        del self._inode_at[directory, name]
        places = self._places[nodeid]
        places.remove((directory, name))
        if not places:
            del self._places[nodeid]
            self._lost[nodeid] = f"{path} (removed)"

    def rename(self, old: Place, new: Place, exchange: bool) -> None:
        """What rename(2) does to names: nothing where both are the same inode's."""
        moved, replaced = self.at(*old), self.at(*new)
        if moved is not None and moved == replaced:
            return
        self.remove(*new)
        self.remove(*old)
        if moved is not None:
            self.enter(moved, *new)
        if exchange and replaced is not None:
            self.enter(replaced, *old)

    def forget(self, nodeid: int) -> None:
        """The guest doesn't know the inode any more."""
        for place in self._places.pop(nodeid, []):
            self._inode_at.pop(place, None)
        self._lost.pop(nodeid, None)

    def clear(self) -> None:
        """The session ended."""
        self._inode_at.clear()
        self._places.clear()
        self._lost.clear()

    def path(self, nodeid: int) -> str:
        """From the share's root; the name that was told last where there are several."""
        parts: list[str] = []
        for _ in range(DEPTH_MAX):
            if nodeid == ROOT:
                return "/" + "/".join(reversed(parts))
            places = self._places.get(nodeid)
            if not places:
                parts.append(self._lost.get(nodeid, f"#{nodeid}"))
                return "/".join(reversed(parts))
            nodeid, name = places[-1]
            parts.append(shown(name))
        return "(loop)/" + "/".join(reversed(parts[:8]))

    def paths(self, nodeid: int) -> list[str]:
        """All names that it has; what stands for a name where none is known."""
        return self.present(nodeid) or [self.path(nodeid)]

    def present(self, nodeid: int) -> list[str]:
        """All names that it has and the journal tells."""
        if nodeid == ROOT:
            return ["/"]
        return [self.below(*place) for place in self._places.get(nodeid, ())]

    def below(self, directory: int, name: bytes) -> str:
        """The path of a name in a directory."""
        return f"{self.path(directory).rstrip('/')}/{shown(name)}"
