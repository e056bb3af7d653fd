"""Each process of the daemon has the capabilities that its role needs, and no others, in no thread and in no set."""

import os
from pathlib import Path

import pytest

from device.exits import Exit
from device.sandbox.landlock import available
from device.sandbox.rights import NUMBER, Condition, permitted, rights_of
from tests.device.sandbox.started import started
from tests.device.served import Served, eventually, serving
from tests.play.fuse_wire import ROOT
from tests.recovery.killer import kill_worker

as_root = pytest.mark.skipif(os.getuid() != 0, reason="has no capabilities to give up")
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
CASES: tuple[tuple[tuple[str, ...], tuple[Condition, ...], tuple[str, ...]], ...] = (
    (("--sandbox=namespace", "--inode-file-handles=never"), ("in a namespace", "not none"), ()),
    (("--sandbox=namespace", "--inode-file-handles=prefer"), ("in a namespace", "not none", "handles"), ()),
    (("--sandbox=chroot", "--inode-file-handles=never"), ("not none",), ()),
    (("--sandbox=none", "--inode-file-handles=never", "--allow-inode-flags"), ("inode flags",), ()),
    (
        ("--sandbox=namespace", "--inode-file-handles=never", "--modcaps=+sys_admin:-mknod"),
        ("in a namespace", "not none"),
        ("+sys_admin", "-mknod"),
    ),
)


def status(pid: int, thread: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/task/{thread}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def bits(numbers: frozenset[int]) -> int:
    return sum(1 << number for number in numbers & permitted())


def has_only(pid: int, effective: frozenset[int], permitted_too: frozenset[int]) -> None:
    """All threads of it."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        told = status(pid, int(thread))
        assert [int(told[name], 16) for name in SETS] == [0, bits(effective | permitted_too), bits(effective), 0, 0]
        assert told["NoNewPrivs"] == "1"


def look_at_all(served: Served, conditions: tuple[Condition, ...], edits: tuple[str, ...]) -> None:
    rights = rights_of(conditions, edits)
    spare = eventually(lambda: served.told("spare_pid") not in (0, served.told("worker_pid")) and served.told("spare_pid"))
    for pid in (served.told("worker_pid"), spare):
        has_only(pid, rights.worker, frozenset())
    for pid in (served.told("guardian_pid"), served.told("keeper_pid")):
        has_only(pid, rights.keeper, rights.worker | rights.maker)


@as_root
@pytest.mark.parametrize(("options", "conditions", "edits"), CASES)
def test_each_process_has_what_its_role_needs(
    tmp_path: Path, options: tuple[str, ...], conditions: tuple[Condition, ...], edits: tuple[str, ...]
) -> None:
    with serving(tmp_path, *options) as served, served.guest() as guest:
        guest.statfs(ROOT)
        look_at_all(served, conditions, edits)
        there = available(files=True)
        assert (served.told("landlock_abi"), served.told("landlock_files")) == (
            there.abi,
            there.files and "handles" not in conditions,
        )
        dead = kill_worker(served.journal)
        eventually(lambda: served.told("worker_pid") not in (0, dead))
        guest.statfs(ROOT)
        look_at_all(served, conditions, edits)


def test_no_role_may_rule_the_host_by_default() -> None:
    everything = rights_of(("in a namespace", "not none", "handles", "inode flags"))
    ruling = {"sys_admin", "net_admin", "sys_ptrace", "sys_resource", "sys_module", "sys_rawio", "sys_boot", "bpf", "kill"}
    assert not everything.worker & {NUMBER[name] for name in ruling}
    assert NUMBER["dac_read_search"] not in rights_of(("in a namespace", "not none")).worker


@as_root
def test_a_capability_that_the_daemon_lacks_is_refused_in_one_line(tmp_path: Path, memory: Path) -> None:
    under = ("setpriv", "--bounding-set=-sys_boot", "--inh-caps=-sys_boot")
    with started(tmp_path, memory, "none", *under, options=("--modcaps=+sys_boot",)) as served:
        assert served.daemon.wait_exit(20) == Exit.PRIVILEGES, served.log()
    lines = [line for line in served.log().splitlines() if "WARNING" not in line]
    assert lines == [
        "steadfsd: --modcaps: +sys_boot: this process has no such capability to give; start it with it, or leave it out"
    ]
