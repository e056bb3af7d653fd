"""A small disk, as the archive's tests have it."""

from tests.device.archive.conftest import disk

__all__ = ["disk"]
