"""The command line: virtiofsd's meanings and defaults, libvirt's spellings, one clear line for everything else."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import OperatorError
from device.exits import Exit
from device.options.pages import help_text, markdown
from device.options.parsing import Options, parse
from device.options.table import COMPAT, ROWS, UNSUPPORTED

ROOT = Path(__file__).resolve().parents[3]
LEAST = ("--shared-dir=/srv", "--socket-path=/run/sock")


def refused(*arguments: str) -> str:
    with pytest.raises(OperatorError) as error:
        parse(arguments)
    assert error.value.exit_code == Exit.USAGE
    line = str(error.value)
    assert "\n" not in line
    assert ";" in line, "a remedy follows the problem"
    return line


def test_defaults_are_those_of_virtiofsd() -> None:
    options = parse(LEAST)
    assert options == Options(shared_dir=Path("/srv"), socket_path=Path("/run/sock"))
    assert options.cache == "auto"
    assert options.thread_pool_size == 0
    assert options.inode_file_handles == "never"
    assert options.announce_submounts
    assert options.readdirplus
    assert options.log_level == "info"
    assert options.tag is None
    assert not any((options.writeback, options.xattr, options.readonly, options.allow_direct_io, options.syslog))


@pytest.mark.parametrize(
    ("argument", "field", "value"),
    [
        ("--tag=share", "tag", b"share"),
        ("--thread-pool-size=8", "thread_pool_size", 8),
        ("--cache=never", "cache", "never"),
        ("--cache=metadata", "cache", "metadata"),
        ("--writeback", "writeback", True),
        ("--xattr", "xattr", True),
        ("--readonly", "readonly", True),
        ("--allow-direct-io", "allow_direct_io", True),
        ("--allow-inode-flags", "allow_inode_flags", True),
        ("--no-readdirplus", "readdirplus", False),
        ("--announce-submounts", "announce_submounts", True),
        ("--no-announce-submounts", "announce_submounts", False),
        ("--modcaps=+SYS_ADMIN:-mknod", "modcaps", ("+sys_admin", "-mknod")),
        ("--inode-file-handles=mandatory", "inode_file_handles", "mandatory"),
        ("--rlimit-nofile=0", "rlimit_nofile", 0),
        ("--sandbox=none", "sandbox", "none"),
        ("--sandbox=chroot", "sandbox", "chroot"),
        ("--socket-group=kvm", "socket_group", "kvm"),
        ("--log-level=trace", "log_level", "trace"),
        ("--syslog", "syslog", True),
        ("--journal-dir=/dev/shm/j", "journal_dir", Path("/dev/shm/j")),
        ("--journal-on-disk", "journal_on_disk", True),
        ("--keep-listening", "keep_listening", True),
        ("--request-queues=2", "request_queues", 2),
        ("--poll-ns-max=0", "poll_ns_max", 0),
        ("-d", "log_level", "debug"),
    ],
)
def test_each_option_sets_its_field_and_no_other(argument: str, field: str, value: Any) -> None:
    assert parse([*LEAST, argument]) == dataclasses.replace(parse(LEAST), **{field: value})
    name, equals, text = argument.partition("=")
    if equals:
        assert parse([*LEAST, name, text]) == parse([*LEAST, argument])


def test_every_field_can_be_set() -> None:
    assert {row.field for row in ROWS} == {field.name for field in dataclasses.fields(Options)}


def test_libvirts_command_line_is_understood() -> None:
    words = "source=/srv,cache=always,sandbox=chroot,xattr,no_flock,no_posix_lock"
    options = parse(["--fd=21", "-o", words, "--thread-pool-size=4", "-d"])
    assert options == Options(
        shared_dir=Path("/srv"), fd=21, cache="always", sandbox="chroot", xattr=True, thread_pool_size=4, log_level="debug"
    )


def test_the_c_daemons_words_are_understood() -> None:
    options = parse(["--socket", "/s", "-osource=/srv,cache=none,log_level=err,no_xattr,writeback", "-f"])
    assert options == Options(shared_dir=Path("/srv"), socket_path=Path("/s"), cache="never", log_level="error", writeback=True)


@pytest.mark.parametrize("word", [word for word, (_, bare) in COMPAT.items() if bare is not None])
def test_every_compat_word_is_taken(word: str) -> None:
    assert isinstance(parse([*LEAST, "-o", word]), Options)


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ((), "--shared-dir: missing"),
        (("--shared-dir=/srv",), "--socket-path: missing"),
        (("--shared-dir=/srv", "--fd=3", "--socket-path=/s"), "--socket-path: excludes --fd"),
        (("--shared-dir=/srv", "--fd=3", "--socket-group=g"), "--socket-group: excludes --fd"),
        ((*LEAST, "--socket-path=/t"), "--socket-path: given twice"),
        ((*LEAST, "--socket=/t"), "--socket: contradicts --socket-path"),
        ((*LEAST, "--announce-submounts", "--no-announce-submounts"), "--no-announce-submounts: contradicts"),
        ((*LEAST, "--frobnicate"), "--frobnicate: unknown"),
        ((*LEAST, "-x"), "-x: unknown"),
        ((*LEAST, "stray"), "stray: unknown"),
        ((*LEAST, "--xattr=yes"), "--xattr: takes no value"),
        ((*LEAST, "--cache"), "--cache: lacks its value"),
        ((*LEAST, "--cache="), "--cache: its value is empty"),
        ((*LEAST, "--cache=sometimes"), "--cache: 'sometimes' is not supported"),
        ((*LEAST, "--sandbox=jail"), "--sandbox: 'jail' is not supported; say namespace or chroot or none"),
        ((*LEAST, "--modcaps=sys_admin"), "--modcaps: 'sys_admin' doesn't say whether to add or to remove; say +sys_admin or"),
        ((*LEAST, "--modcaps=+root"), "--modcaps: 'root' is no capability; take a name of capabilities(7), without CAP_"),
        ((*LEAST, "--modcaps=+mknod:-mknod"), "--modcaps: '+mknod:-mknod' names one twice; name each once"),
        ((*LEAST, "-o", "sandbox=jail"), "--sandbox: 'jail' is not supported; say namespace or chroot or none"),
        ((*LEAST, "--request-queues=0"), "--request-queues: '0' is no number"),
        ((*LEAST, "--request-queues=17"), "--request-queues: '17' is no number"),
        ((*LEAST, "--request-queues=many"), "--request-queues: 'many' is no number"),
        ((*LEAST, "--thread-pool-size=-1"), "--thread-pool-size: '-1' is no number"),
        ((*LEAST, "--thread-pool-size=" + "9" * 5000), "--thread-pool-size: "),
        ((*LEAST, "--tag=" + "x" * 37), "--tag: 37 bytes long"),
        ((*LEAST, "-o", "flock"), "-o flock: not supported"),
        ((*LEAST, "-o", "posix_lock"), "-o posix_lock: not supported"),
        ((*LEAST, "-o", "xattr=on"), "-o xattr: takes no value"),
        ((*LEAST, "-o"), "-o : not supported"),
    ],
)
def test_wrong_command_lines_are_refused_by_name(arguments: tuple[str, ...], start: str) -> None:
    assert refused(*arguments).startswith(start)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_options_of_virtiofsd_that_we_lack_are_named_as_such(name: str) -> None:
    assert refused(*LEAST, f"{name}=x" if UNSUPPORTED[name] else name) == f"{name}: not supported (yet); leave it out"


def test_a_tag_of_36_bytes_fits() -> None:
    assert parse([*LEAST, "--tag=" + "x" * 36]).tag == b"x" * 36


@given(st.lists(st.text(max_size=20) | st.sampled_from([row.name for row in ROWS] + ["-o", "-d", "=", ","]), max_size=6))
def test_no_command_line_brings_anything_but_options_or_one_error(arguments: list[str]) -> None:
    with contextlib.suppress(OperatorError):
        assert isinstance(parse(arguments), Options)


def test_help_names_every_option_and_exit_code() -> None:
    text = help_text()
    for row in ROWS:
        assert row.name in text
    for code in Exit:
        assert f"{code.value:3}  " in text


def test_the_options_page_is_fresh() -> None:
    page = (ROOT / "docs" / "options.md").read_text()
    assert page == markdown(), "run: python -m device.options.parsing > docs/options.md"
