"""The part of docs/options.md that tells which process has which capability, made from the sandbox's table."""

from device.sandbox.rights import CONDITIONS, GRANTS, Role

_ROLES: dict[Role, str] = {
    "worker": "worker and spare",
    "keeper": "keeper and guardian",
    "maker": "keeper and guardian while they make a worker",
}


def markdown_lines() -> list[str]:
    """A section."""
    return [
        "## Capabilities",
        "",
        "What a process has after the sandbox is made. The bounding set is empty, no_new_privs is set, securebits are locked.",
        "To keeper and guardian a worker's are permitted, since one of them makes it, and not effective.",
        "`--modcaps` changes what workers have; `+sys_admin` lets a guest with `--xattr` set `trusted.*`.",
        "",
        "| capability | who | for | when |",
        "| --- | --- | --- | --- |",
        *(f"| {row.capability} | {_ROLES[row.role]} | {row.why} | {CONDITIONS[row.when] or 'always'} |" for row in GRANTS),
    ]
