"""docs/security.md: the table of attacks in it, made from a run, and read back."""

from collections.abc import Mapping, Sequence

from tests.play.daemons import ROOT
from tests.security.attack import Attack
from tests.security.subjects import Outcome

PAGE = ROOT / "docs" / "security.md"
_BEGIN, _END = "<!-- made by `make attacks` -->\n", "<!-- end -->\n"


def table(attacks: Sequence[Attack], found: Mapping[str, Mapping[str, Outcome]]) -> str:
    """A row per attack, a column per subject."""
    head = ("a captured worker tries to", "it worked if", *found)
    rows = [(row.name, row.told_by, *(told[row.name].word for told in found.values())) for row in attacks]
    return "".join(f"| {' | '.join(words)} |\n" for words in (head, ["---"] * len(head), *rows))


def renewed(text: str, attacks: Sequence[Attack], found: Mapping[str, Mapping[str, Outcome]]) -> str:
    """The page with the table of that run."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table(attacks, found)}\n{_END}{after}"


def written() -> dict[str, dict[str, str]]:
    """What the page tells: a column's title -> an attack's name -> the word."""
    text = PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0]
    head, _, *rows = ([word.strip() for word in line.strip("|").split(" | ")] for line in text.split("\n") if line)
    return {name: {row[0]: row[at] for row in rows} for at, name in enumerate(head) if at > 1}
