"""Whatever stands in a journal: an exit code and a line, never a traceback."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from journal.audit.commands.cli import main
from journal.audit.exits import Exit
from tests.audit.journals import database, rechain

TABLES = ("commits", "horizon", "checkpoint", "specs", "lives", "counts", "checkpoint_inode", "checkpoint_session", "meta")
ODD: tuple[Any, ...] = (
    None,
    -1,
    0,
    1 << 62,
    3.5,
    "",
    "x",
    b"",
    b"\xff",
    "[]",
    "[[]]",
    "{}",
    "[null]",
    "NaN",
    "9" * 5000,
    "[" * 2000,
)
COMMANDS = (
    ("verify",),
    ("stats",),
    ("replay",),
    ("replay", "--to", "70"),
    ("trace", "/dir/first"),
    ("show", "66"),
    ("diff", "5", "70"),
)


def expect_an_answer(place: Path) -> None:
    for name, *more in COMMANDS:
        arguments = [name, str(place), *more]
        assert main(arguments) in (*Exit,), arguments


@pytest.mark.parametrize("seed", range(24))
def test_any_cell_of_any_table_may_hold_anything(real: Path, seed: int) -> None:
    random = Random(seed)
    table = random.choice(TABLES)
    with database(real) as db:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        column = random.choice(columns)
        try:
            db.execute(f'UPDATE {table} SET "{column}" = ?', (random.choice(ODD),))
        except sqlite3.IntegrityError:
            db.execute(f'DELETE FROM {table} WHERE "{column}" IS NOT NULL')
    expect_an_answer(real)


def _mutate(random: Random, value: Any) -> Any:
    """Somewhere in it, something else."""
    if isinstance(value, list) and value and random.random() < 0.8:
        index = random.randrange(len(value))
        return [*value[:index], _mutate(random, value[index]), *value[index + 1 :]]
    if isinstance(value, dict) and value and random.random() < 0.8:
        key = random.choice(sorted(value))
        return {**value, key: _mutate(random, value[key])}
    return random.choice([None, -1, 1 << 70, 1.5, "", "absent", [], {}, [[]], {"hex": "zz"}, True, "inode", "\udcff"])


@pytest.mark.parametrize("seed", range(30))
def test_any_value_in_a_body_may_be_anything_though_the_chain_is_right(real: Path, seed: int) -> None:
    random = Random(seed)
    with database(real) as db:
        seq, body = random.choice(db.execute("SELECT seq, body FROM commits").fetchall())
        db.execute("UPDATE commits SET body = ? WHERE seq = ?", (json.dumps(_mutate(random, json.loads(body))), seq))
    rechain(real)
    expect_an_answer(real)


@pytest.mark.parametrize("seed", range(30))
def test_the_specs_may_say_anything(real: Path, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    random = Random(seed)
    with database(real) as db:
        (text,) = db.execute("SELECT json FROM specs").fetchone()
        specs = json.loads(text)
        for _ in range(3):
            specs["machines"] = _mutate(random, specs["machines"])
        db.execute("UPDATE specs SET json = ?", (json.dumps(specs),))
    assert main(["verify", str(real)]) == Exit.FINDINGS
    expect_an_answer(real)


def test_a_loop_of_directories_ends(real: Path, fresh: Callable[[Path], Path]) -> None:
    """No host makes one; a forger may."""
    with database(real) as db:
        body = db.execute("SELECT body FROM commits WHERE body LIKE '%\"MKDIR\"%'").fetchone()[0]
        db.execute("UPDATE commits SET body = ? WHERE body = ?", (body.replace('"node":1', '"node":2'), body))
    rechain(real)
    expect_an_answer(fresh(real))
