"""What mypy needs of the compiled module; its declarations are in native/driver.h."""

from typing import Any

from cffi import FFI

ffi: FFI
lib: Any
