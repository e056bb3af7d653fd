"""The files of the repository as the tests of its layout see them."""

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("machine", "specs", "journal", "fuse", "device")


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that is, or is about to be, under version control."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    return tuple(ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file())


def named(*suffixes: str) -> list[Path]:
    return [path for path in tracked() if path.suffix in suffixes]


def package(name: str) -> list[Path]:
    """Python files of one of our packages."""
    return [path for path in named(".py") if path.relative_to(ROOT).parts[0] == name]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())
