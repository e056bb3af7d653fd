"""Writes docs/machines and specs/native from the specs: `python docs/generate.py` (a test fails when they are stale)."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from machine import c_headers, diagrams  # noqa: E402
from specs.fuse.init_flags import INIT_FLAGS  # noqa: E402
from specs.fuse.opcodes import OPCODES  # noqa: E402
from specs.fuse.primitives import PRIMITIVES, REGISTERS  # noqa: E402
from specs.fuse.witnesses import WITNESSES  # noqa: E402
from specs.limits import LIMITS  # noqa: E402
from specs.machines import MACHINES  # noqa: E402
from specs.recovery import RECOVERY  # noqa: E402
from specs.request import REQUEST  # noqa: E402
from specs.system_calls.numbers import NEWEST  # noqa: E402
from specs.system_calls.roles import ROLES  # noqa: E402
from specs.system_calls.table import MISSING, SYSTEM_CALLS  # noqa: E402
from specs.vhost.features import PROTOCOL_FEATURES, VIRTIO_FEATURES  # noqa: E402
from specs.vhost.messages import MESSAGES  # noqa: E402


def pages() -> dict[str, str]:
    """File name below docs/machines -> its content."""
    made = {f"{table.name}.md": diagrams.machine_page(table) for table in MACHINES}
    made["vhost-messages.md"] = diagrams.messages_page(MESSAGES)
    made["fuse-operations.md"] = diagrams.opcodes_page(OPCODES, PRIMITIVES, REGISTERS, WITNESSES)
    made["virtio-features.md"] = diagrams.flags_page("virtio features", VIRTIO_FEATURES)
    made["protocol-features.md"] = diagrams.flags_page("vhost-user protocol features", PROTOCOL_FEATURES)
    made["init-flags.md"] = diagrams.flags_page("FUSE_INIT flags", INIT_FLAGS)
    made["limits.md"] = diagrams.limits_page(LIMITS)
    made["system-calls.md"] = diagrams.system_calls_page(ROLES, SYSTEM_CALLS, MISSING, NEWEST)
    made["recovery.md"] = diagrams.cases_page(RECOVERY)
    return made


def headers() -> dict[str, str]:
    """File name below specs/native -> its content."""
    return {"request_phases.h": c_headers.phases_header(REQUEST), "limits.h": c_headers.limits_header(LIMITS)}


if __name__ == "__main__":
    for target, made in ((ROOT / "docs" / "machines", pages()), (ROOT / "specs" / "native", headers())):
        target.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (target / name).write_text(text)
