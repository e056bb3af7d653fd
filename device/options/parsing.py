"""The command line of steadfsd: virtiofsd's options with virtiofsd's meanings, libvirt's older spellings, and ours."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from device.confine.program import SeccompMode
from device.errors import OperatorError
from device.exits import Exit
from device.options.table import (
    COMPAT,
    COMPAT_IGNORED,
    COMPAT_VALUES,
    POLL_NS_MAX,
    QUEUES_OFFERED,
    ROWS,
    UNSUPPORTED,
    OptionRow,
)
from device.sandbox.place import SandboxMode
from device.sandbox.rights import NUMBER
from device.vhost.messages import TAG_BYTES

Cache = Literal["never", "metadata", "auto", "always"]
FileHandles = Literal["never", "prefer", "mandatory"]
ArchivePolicy = Literal["hold", "drop"]
LogLevel = Literal["error", "warn", "info", "debug", "trace", "off"]

_BY_NAME = {row.name: row for row in ROWS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for, checked as far as that needs no look at the system.

    Exactly one of `socket_path` and `fd` is given. `rlimit_nofile` None: the daemon's own choice; 0: leave it.
    `journal_dir` None: the daemon makes one on tmpfs. `thread_pool_size` 0: the daemon's own choice.
    `watchdog` in seconds, 0: none. `modcaps`: words like `+sys_admin`, each capability once.
    """

    shared_dir: Path
    socket_path: Path | None = None
    fd: int | None = None
    socket_group: str | None = None
    tag: bytes | None = None
    thread_pool_size: int = 0
    cache: Cache = "auto"
    writeback: bool = False
    xattr: bool = False
    readonly: bool = False
    allow_direct_io: bool = False
    allow_inode_flags: bool = False
    readdirplus: bool = True
    announce_submounts: bool = True
    inode_file_handles: FileHandles = "never"
    rlimit_nofile: int | None = None
    sandbox: SandboxMode = "namespace"
    modcaps: tuple[str, ...] = ()
    seccomp: SeccompMode = "kill"
    log_level: LogLevel = "info"
    syslog: bool = False
    journal_dir: Path | None = None
    journal_on_disk: bool = False
    journal_archive: Path | None = None
    journal_archive_policy: ArchivePolicy = "hold"
    journal_archive_file_mib: int = 64
    journal_archive_file_hours: int = 24
    journal_archive_keep_mib: int = 0
    journal_archive_keep_days: int = 0
    journal_seal_key: Path | None = None
    journal_seals: Path | None = None
    keep_listening: bool = False
    request_queues: int = QUEUES_OFFERED
    watchdog: int = 0
    poll_ns_max: int = POLL_NS_MAX


def parse(arguments: Sequence[str]) -> Options:
    """Raises OperatorError (exit code USAGE) that names the option and the remedy."""
    values: dict[str, Any] = {}
    given: dict[str, str] = {}
    for name, text in _words(arguments):
        row = _BY_NAME[name]
        if given.get(row.field) == name:
            raise _usage(name, "given twice; give it once")
        if row.field in given:
            raise _usage(name, f"contradicts {given[row.field]}; give one of them")
        given[row.field] = name
        values[row.field] = _value(row, text)
    if "shared_dir" not in values:
        raise _usage("--shared-dir", "missing; name the directory to share")
    if "socket_path" not in values and "fd" not in values:
        raise _usage("--socket-path", "missing; give it, or --fd")
    if "fd" in values:
        for field in ("socket_path", "socket_group"):
            if field in values:
                raise _usage(given[field], "excludes --fd; give one of them")
    if "journal_seals" in values and "journal_seal_key" not in values:
        raise _usage("--journal-seals", "says nothing without --journal-seal-key; give both or none")
    if "journal_archive" not in values:
        for field, name in given.items():
            if field.startswith("journal_archive_"):
                raise _usage(name, "says nothing without --journal-archive; give both or none")
    return Options(**values)


def _words(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(option, its value as text) in the order given; a flag's value is `on` or `off`."""
    rest = iter(arguments)
    for word in rest:
        if word in ("-f", "--foreground"):
            continue  # we never go to the background
        if word == "-d":
            yield "--log-level", "debug"
        elif word.startswith("-o"):
            text = word.removeprefix("-o") or next(rest, "")
            yield from _compat(text)
        elif word.startswith("--"):
            yield _long(word, rest)
        else:
            raise _usage(word, "unknown; see --help")


def _long(word: str, rest: Iterator[str]) -> tuple[str, str]:
    name, has_value, text = word.partition("=")
    if name in UNSUPPORTED:
        raise _usage(name, "not supported (yet); leave it out")
    row = _BY_NAME.get(name)
    if row is None:
        raise _usage(name, "unknown; see --help")
    if row.kind == "flag":
        if has_value:
            raise _usage(name, "takes no value; leave it out")
        return name, "on"
    if not has_value:
        following = next(rest, None)
        if following is None:
            raise _usage(name, f"lacks its value; say {name}={row.metavar}")
        text = following
    return name, text


def _compat(text: str) -> Iterator[tuple[str, str]]:
    """One `-o a,b=c`; what has no counterpart here is refused."""
    for item in text.split(","):
        key, _, value = item.partition("=")
        if key in COMPAT_IGNORED:
            continue
        if key == "debug":
            yield "--log-level", "debug"
            continue
        if key not in COMPAT:
            raise _usage(f"-o {key}", "not supported; leave it out")
        name, bare = COMPAT[key]
        if bare is None:
            yield name, COMPAT_VALUES.get((key, value), value)
        elif value:
            raise _usage(f"-o {key}", "takes no value; leave it out")
        else:
            yield name, bare


def _value(row: OptionRow, text: str) -> Any:
    if row.kind == "flag":
        return row.sets if text == "on" else not row.sets
    if text == "":
        raise _usage(row.name, f"its value is empty; say {row.name}={row.metavar}")
    if row.kind == "path":
        return Path(text)
    if row.kind == "number":
        return _number(row, text)
    if row.kind == "capabilities":
        return _capabilities(row, text)
    if row.kind == "tag":
        tag = os.fsencode(text)
        if len(tag) > TAG_BYTES:
            raise _usage(row.name, f"{len(tag)} bytes long; shorten it to {TAG_BYTES}")
        return tag
    if row.kind == "choice" and text not in row.choices:
        remedy = " or ".join(row.choices)
        raise _usage(row.name, f"{text!r} is not supported; say {remedy}")
    return text


def _capabilities(row: OptionRow, text: str) -> tuple[str, ...]:
    words = tuple(text.lower().split(":"))
    for word in words:
        if word[:1] not in ("+", "-"):
            raise _usage(row.name, f"{word!r} doesn't say whether to add or to remove; say +{word} or -{word}")
        if word[1:] not in NUMBER:
            raise _usage(row.name, f"{word[1:]!r} is no capability; take a name of capabilities(7), without CAP_")
    if len({word[1:] for word in words}) != len(words):
        raise _usage(row.name, f"{text!r} names one twice; name each once")
    return words


def _number(row: OptionRow, text: str) -> int:
    least, most = row.span
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise _usage(row.name, f"{text!r} is no number from {least} to {most}; give one")
    return int(text)


def _usage(option: str, problem: str) -> OperatorError:
    return OperatorError(option, problem, Exit.USAGE)
