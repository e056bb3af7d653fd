"""Pages and headers that are made from tables are those that the tables make now; what pages name is there."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from device.options.pages import markdown
from tests.layout.sources import ROOT, named, relative, tracked

MACHINES = ROOT / "docs" / "machines"


def test_the_pages_of_the_machines_are_fresh() -> None:
    made: dict[str, str] = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    written = {path.name: path.read_text() for path in MACHINES.iterdir()}
    assert written.keys() == made.keys(), "make docs"
    assert [name for name in made if made[name] != written[name]] == [], "make docs"


def test_the_headers_that_c_gets_from_the_tables_are_fresh() -> None:
    made: dict[str, str] = runpy.run_path(str(ROOT / "docs" / "generate.py"))["headers"]()
    written = {name: (ROOT / "specs" / "native" / name).read_text() for name in made}
    assert written == made, "make docs"


def test_the_page_of_the_options_is_fresh() -> None:
    assert (ROOT / "docs" / "options.md").read_text() == markdown(), "make docs"


def test_links_between_pages_lead_somewhere() -> None:
    for page in named(".md"):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{relative(page)}: {link}"


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md"])
def test_files_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    names = {relative(path) for path in tracked()}
    folders = {str(parent) for name in names for parent in Path(name).parents}
    tops = "machine|specs|journal|fuse|device|tests|docs|tools"
    for named_file in re.findall(rf"`((?:{tops})/[\w./*-]*)`", text):
        path = named_file.rstrip("/")
        known = path in names or path in folders or ("*" in path and list(ROOT.glob(path)))
        assert known, f"{page} names {named_file}"


def test_the_readme_names_the_commands_that_there_are() -> None:
    text = (ROOT / "README.md").read_text()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for script in scripts:
        assert script in text, script
    for target in ("demo", "test"):
        assert f"make {target}" in text, target
    assert set(re.findall(r"`make (\w+)`|^    (?:\$ )?make (\w+)", text, re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }


GENERATED = {"docs/options.md", *(f"docs/machines/{path.name}" for path in MACHINES.iterdir())}
MARKDOWN_COLUMNS_MAX = 128


@pytest.mark.parametrize("page", [path for path in named(".md") if relative(path) not in GENERATED], ids=relative)
def test_prose_wraps(page: Path) -> None:
    """Tables and code can't; pages that are made from tables are read as tables."""
    long = [line for line in page.read_text().splitlines() if len(line) > MARKDOWN_COLUMNS_MAX]
    assert [line for line in long if not line.startswith(("|", "    "))] == []
