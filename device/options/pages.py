"""`--help` and docs/options.md, made from the table of options."""

import textwrap

from device.exits import MEANINGS
from device.options.capabilities import markdown_lines
from device.options.table import COMPAT, COMPAT_IGNORED, ROWS, UNSUPPORTED, OptionRow

_USAGE = "steadfsd --shared-dir DIR (--socket-path PATH | --fd N) [OPTION]..."
_OTHERS = (
    ("--print-capabilities", "print what this back-end can as JSON and end; all other arguments are ignored"),
    ("-h, --help", "print this"),
    ("-V, --version", "print the version"),
)
_HELP_COLUMNS = 100
_HELP_INDENT = 8


def help_text() -> str:
    """For `--help`."""
    lines = [f"usage: {_USAGE}", ""]
    for row in ROWS:
        lines += _entry(_spelling(row), _described(row))
    for name, doc in _OTHERS:
        lines += _entry(name, doc)
    lines += ["", "exit codes:"]
    lines += [f"  {code.value:3}  {meaning}" for code, meaning in MEANINGS.items()]
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """docs/options.md."""
    lines = [
        "# Options of steadfsd",
        "",
        "Made from `device/options/table.py` by `python -m device.options.pages > docs/options.md`.",
        "",
        f"    {_USAGE}",
        "",
        "## As virtiofsd",
        "",
        *_table([row for row in ROWS if not row.ours]),
        "",
        "## Our own",
        "",
        *_table([row for row in ROWS if row.ours]),
        "",
        "## Others",
        "",
        "| option | meaning |",
        "| --- | --- |",
        *(f"| `{name}` | {doc} |" for name, doc in _OTHERS),
        "",
        *markdown_lines(),
        "",
        "## Older spellings",
        "",
        "`-f` is taken and changes nothing, `-d` means `--log-level=debug`. `-o` takes a list of these:",
        "",
        "| word | means |",
        "| --- | --- |",
        *(f"| `{word}{'=…' if bare is None else ''}` | {_compat(name, bare)} |" for word, (name, bare) in COMPAT.items()),
        *(f"| `{word}` | taken; what it switches off is never on |" for word in COMPAT_IGNORED),
        "",
        "## Known and not supported",
        "",
        "Refused with a line of its own: " + ", ".join(f"`{name}`" for name in UNSUPPORTED) + ".",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "| --- | --- |",
        *(f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()),
    ]
    return "\n".join(lines) + "\n"


def _spelling(row: OptionRow) -> str:
    return row.name if row.kind == "flag" else f"{row.name}={row.metavar}"


def _described(row: OptionRow) -> str:
    choices = f" ({', '.join(row.choices)})" if row.choices else ""
    default = f" [default: {row.default}]" if row.default else ""
    return row.doc + choices + default


def _entry(name: str, doc: str) -> list[str]:
    indent = " " * _HELP_INDENT
    return [f"  {name}", *textwrap.wrap(doc, _HELP_COLUMNS, initial_indent=indent, subsequent_indent=indent)]


def _table(rows: list[OptionRow]) -> list[str]:
    lines = ["| option | default | meaning |", "| --- | --- | --- |"]
    for row in rows:
        choices = f" ({', '.join(f'`{choice}`' for choice in row.choices)})" if row.choices else ""
        lines.append(f"| `{_spelling(row)}` | {row.default or '–'} | {row.doc}{choices} |")
    return lines


def _compat(name: str, bare: str | None) -> str:
    if bare is None:
        return f"`{name}=…`"
    return f"`{name}`" if bare == "on" else f"no `{name}`"


if __name__ == "__main__":
    print(markdown(), end="")
