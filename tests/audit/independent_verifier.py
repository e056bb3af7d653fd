"""A verifier written from docs/journal-format.md alone: nothing of steadfs, only sqlite3, hashlib and json.

    python independent_verifier.py journal.db

Works on a database that nobody writes (a copy). Prints what is wrong and exits with 1, or prints `whole`.
"""

import hashlib
import json
import sqlite3
import sys
from typing import Any

Records = dict[tuple[str, int], dict[str, Any]]


def legal_steps(specs: Any) -> dict[tuple[str, str, str], tuple[str, set[tuple[str, str]]]]:
    """(machine, state, event) -> where it leads, and the (verb, table) pairs of the effects that it may have."""
    return {
        (table["name"], state, event): (
            state if row["dest"] == "=" else row["dest"],
            {(effect["verb"], effect["table"]) for effect in row["effects"]},
        )
        for table in specs["machines"]
        for row in table["rows"]
        for state in row["states"]
        for event in row["events"]
    }


def apply(records: Records, stands: Any, n: int, item: list[Any], absent: dict[str, str]) -> None:
    """Transition `n` on the records that do not contain it yet; `stands(table, key)`: what a record contains."""
    machine, key, _, source, dest, _, effects, _ = item
    own, fresh = (machine, key), n > stands(machine, key)
    if fresh:
        state = records[own]["state"] if own in records else absent[machine]
        assert state == source, f"transition {n}: {machine} {key} is {state}, not {source}"
    for verb, table, *rest in effects:
        if verb == "clear":
            for place in [place for place in records if place[0] == table and n > stands(*place)]:
                del records[place]
        elif n > stands(table, rest[0]):
            place = (table, rest[0])
            assert (place in records) == (verb != "put"), f"transition {n}: {verb} on {place}"
            if verb == "delete":
                del records[place]
            elif verb == "add":
                for field, amount in rest[1].items():
                    records[place][field] += amount
            else:
                records[place] = {**records.get(place, {}), **rest[1]}
    if fresh and own in records:
        records[own]["state"] = dest


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def meaning(value: Any, wording: dict[str, list[str]]) -> Any:
    if isinstance(value, list):
        return [meaning(item, wording) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: item for name, item in value.items() if name not in wording["left_out"]}
    return {name: bool(x) if name in wording["only_whether"] else meaning(x, wording) for name, x in kept.items()}


def verify(db: sqlite3.Connection) -> None:
    """Raises AssertionError that says what is wrong."""
    ((specs_digest, text),) = db.execute("SELECT digest, json FROM specs").fetchall()
    specs = json.loads(text)
    meant = text
    if "wording" in specs:
        assert canonical(specs) == text, "the specs are not as they were written"
        sealed = specs.pop("text")
        assert hashlib.blake2b(canonical(specs).encode(), digest_size=32).hexdigest() == sealed, "the specs are not as written"
        meant = canonical(meaning(specs, specs["wording"]))
    assert hashlib.blake2b(meant.encode(), digest_size=32).digest() == specs_digest, "the specs are not those of their digest"
    steps, absent = legal_steps(specs), {table["name"]: table["absent"] for table in specs["machines"]}
    horizon, commit, last, digest = db.execute("SELECT checkpoint_seq, commit_seq, last, digest FROM horizon").fetchone()
    trimmed = last
    floors = dict(db.execute('SELECT "table", floor FROM checkpoint'))
    seqs: dict[tuple[str, int], int] = {}
    stored: Records = {}
    for table in floors:
        for key, seq, digest_said, record in db.execute(f'SELECT key, seq, digest, record FROM "checkpoint_{table}"'):
            place = (table, key % (1 << 64))
            numbers = key.to_bytes(8, "little", signed=True) + seq.to_bytes(8, "little") + bytes([record is not None])
            told = hashlib.blake2b(numbers + (record or "").encode(), digest_size=16).digest()
            assert told == digest_said, f"record {key} of {table} is not as it was written"
            seqs[place] = seq
            if record is not None:
                stored[place] = json.loads(record)
    from_nothing: Records = {}
    for seq, first, after, time_ns, body, said in db.execute(
        "SELECT seq, first, last, time_ns, body, digest FROM commits ORDER BY seq"
    ):
        numbers = b"".join(number.to_bytes(8, "little") for number in (seq, first, after, time_ns))
        link = hashlib.blake2b(digest + numbers + body.encode(), digest_size=32)
        assert (seq, first, link.digest()) == (commit + 1, last + 1, said), f"commit {seq} does not follow"
        items = json.loads(body)
        assert len(items) == after - first + 1, f"commit {seq} does not hold its transitions"
        for n, item in enumerate(items, first):
            dest, effects = steps.get((item[0], item[3], item[2]), (None, set()))
            assert dest == item[4], f"transition {n} is not legal"
            assert {(effect[0], effect[1]) for effect in item[6]} <= effects, f"transition {n} has undeclared effects"
            apply(stored, lambda t, k: max(seqs.get((t, k), 0), floors.get(t, 0), horizon), n, item, absent)
            if trimmed == 0:
                apply(from_nothing, lambda t, k: 0, n, item, absent)
        commit, last, digest = seq, after, said
    assert trimmed or stored == from_nothing, "the checkpoint does not say what the rows do"
    counted = db.execute("SELECT coalesce(sum(n), 0) FROM counts").fetchone()[0]
    assert counted == trimmed, f"{counted} deleted transitions counted, {trimmed} deleted"


if __name__ == "__main__":
    try:
        verify(sqlite3.connect(sys.argv[1]))
    except (AssertionError, ValueError, TypeError, KeyError, OverflowError, sqlite3.Error) as error:
        sys.exit(f"not whole: {error}")
    print("whole")
