"""A Python that loads nothing any more: with the share as root, a worker's interpreter finds the guest's files on its paths."""

import contextlib
import ctypes
import importlib
import linecache
import logging
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType, TracebackType
from typing import Any, NoReturn

log = logging.getLogger("steadfs.sandbox")

_LATE_MODULES = ("traceback", "tempfile", "encodings.ascii", "encodings.latin_1", "encodings.utf_8")
"""What the standard library imports or looks up only when it is used."""

_LATE_LIBRARIES = ("libgcc_s.so.1",)
"""The C library loads it when a thread ends by pthread_exit(3)."""


class _Refusal(MetaPathFinder):
    """Found on sys.meta_path by an import that comes too late."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> NoReturn:
        log.error("import of %s refused: too late, the share is the root", name)
        raise ModuleNotFoundError(f"{name} was not loaded before the sandbox was entered", name=name)


def load_everything() -> None:
    """What would else be loaded when it is first needed."""
    for name in _LATE_MODULES:
        importlib.import_module(name)
    for library in _LATE_LIBRARIES:
        with contextlib.suppress(OSError):
            ctypes.CDLL(library)


def refuse_imports() -> None:
    """From here on an import fails, and no traceback reads source lines: they would be a guest's, or a FIFO to wait for."""
    sys.meta_path[:] = [_Refusal()]
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    linecache.cache.clear()
    linecache.updatecache = _no_source
    sys.excepthook = _one_line
    sys.unraisablehook = _one_line_of


def _no_source(filename: str, module_globals: dict[str, Any] | None = None) -> list[str]:
    return []


def _one_line(kind: type[BaseException], error: BaseException | None, at: TracebackType | None) -> None:
    log.error("uncaught %s: %s", kind.__name__, error)


def _one_line_of(unraisable: Any) -> None:
    _one_line(unraisable.exc_type, unraisable.exc_value, unraisable.exc_traceback)
