"""Comments, docstrings and pages name files and modules that there are."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.layout.sources import LAYERS, ROOT, named, parsed, relative, tracked

FILE = re.compile(r"(?<![\w./*{}<>\[-])((?:[\w.-]+/)*[\w-]+\.(?:c|h|py|pyi|md|sh))\b(?![(\w])")
MODULE = re.compile(rf"(?<![\w./-])((?:{'|'.join([*LAYERS, 'tests', 'tools'])})(?:\.[a-z_]\w*\*?)+)")
FOREIGN = {"include/uapi/linux", "linux", "asm-generic", "fs/fuse", "fs", "drivers/virtio", "hw/virtio"}
"""Folders of Linux and QEMU, of whose files prose speaks too, some by their bare names:"""
FOREIGN_FILES = {"fcntl.h", "fuse.h", "socket.h", "vhost-user-fs.c", "vhost-user.c", "virtio_fs.c"}
NO_MODULES = {"journal.db", "machine.event", "fuse.h"}
BUILT = {"_native", "_driver"}


def prose(path: Path) -> str:
    """Comments and strings of a Python file, comments of a C file, all of a page."""
    text = path.read_text()
    if path.suffix in {".c", ".h"}:
        return "\n".join(re.findall(r"/\*.*?\*/", text, re.DOTALL))
    if path.suffix != ".py":
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(token.string for token in tokens if token.type == tokenize.COMMENT) + "\n".join(docstrings(path))


def docstrings(path: Path) -> Iterator[str]:
    """Strings that stand by themselves."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


@cache
def files() -> frozenset[str]:
    """Every tracked file by each end of its path: device/rings/slots.py, rings/slots.py, slots.py."""
    parts = [path.relative_to(ROOT).parts for path in tracked()]
    return frozenset("/".join(one[i:]) for one in parts for i in range(len(one)))


def is_file(name: str) -> bool:
    folder, _, base = name.rpartition("/")
    return name in files() or folder in FOREIGN or (folder == "" and base in FOREIGN_FILES)


def is_module(name: str) -> bool:
    """A package, a module, or what one has at its top."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        at = ROOT.joinpath(*parts[:n])
        module = at.with_suffix(".py") if at.with_suffix(".py").is_file() else at / "__init__.py"
        if module.is_file():
            rest = parts[n : n + 1]
            return not rest or rest[0] in BUILT or re.search(rf"\b{re.escape(rest[0])}", module.read_text()) is not None
    return False


def test_files_that_are_named_exist() -> None:
    unknown = {
        f"{relative(path)}: {name}"
        for path in named(".py", ".c", ".h", ".md", ".toml", ".sh", "")
        for name in FILE.findall(prose(path))
        if not is_file(name)
    }
    assert unknown == set()


def test_modules_that_are_named_exist() -> None:
    unknown = {
        f"{relative(path)}: {name}"
        for path in named(".py", ".c", ".h", ".md")
        for name in MODULE.findall(prose(path))
        if name not in NO_MODULES and not is_module(name)
    }
    assert unknown == set()
