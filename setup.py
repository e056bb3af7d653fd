"""What pyproject.toml can't say: the packages, found and put below one umbrella, and the three extension modules."""

from setuptools import find_packages, setup

TOPS = ("machine", "specs", "journal", "fuse", "device")
UMBRELLA = "steadfs"

found = [name for top in TOPS for name in find_packages(include=[top, f"{top}.*"])]
setup(
    packages=[UMBRELLA, *(f"{UMBRELLA}.{name}" for name in found)],
    package_dir={UMBRELLA: UMBRELLA, **{f"{UMBRELLA}.{name}": name.replace(".", "/") for name in found}},
    include_package_data=False,  # it would take the C along
    options={"build_ext": {"parallel": True}},
    cffi_modules=[f"tools/native_build.py:{package}" for package in ("device", "fuse", "journal")],
)
