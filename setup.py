"""The one thing that pyproject.toml can't say: the three extension modules."""

from setuptools import setup

setup(
    cffi_modules=["device/native_build.py:ffibuilder", "fuse/native_build.py:ffibuilder", "journal/native_build.py:ffibuilder"]
)
