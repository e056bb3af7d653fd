"""The table of attacks: what a captured worker tries, ours in each sandbox, and the peer's beside it in the same run."""

import os
import platform

import pytest

from tests.security import page
from tests.security.known import OPEN
from tests.security.run import ATTACKS, Outcomes, run_all
from tests.security.subjects import CONTROL, SUBJECTS, Subject, title

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can capture a worker"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="captures by registers of x86-64"),
]
OURS = [subject for subject in SUBJECTS if subject.ours]
NAMES = [attack.name for attack in ATTACKS]


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    return run_all()


@pytest.mark.parametrize("subject", OURS, ids=lambda subject: subject.name)
@pytest.mark.parametrize("name", NAMES)
def test_an_attack_works_only_where_it_is_known_to(outcomes: Outcomes, name: str, subject: Subject) -> None:
    outcome = outcomes[subject.title][name]
    assert outcome.word in ("possible", "refused", "killed", "absent"), outcome
    assert (outcome.word == "possible") == (name in OPEN and subject.name in OPEN[name].where), outcome


def test_every_attack_works_where_nothing_is_in_its_way(outcomes: Outcomes) -> None:
    """Else it would prove nothing. What this kernel hasn't got, and what only we have, can't be told there."""
    told = outcomes[CONTROL.title]
    assert {name: outcome for name, outcome in told.items() if outcome.word not in ("possible", "absent", "–")} == {}


@pytest.mark.parametrize("subject", OURS, ids=lambda subject: subject.name)
def test_the_guest_goes_on_whatever_became_of_the_worker(outcomes: Outcomes, subject: Subject) -> None:
    assert [name for name, outcome in outcomes[subject.title].items() if not outcome.survived] == []


def test_what_is_known_to_be_open_is_an_attack_and_said_to_be_so() -> None:
    text = " ".join(page.PAGE.read_text().split())
    for name, known in OPEN.items():
        assert name in NAMES
        assert known.where <= {subject.name for subject in OURS}
        assert known.why in text, f"docs/security.md: {known.why}"


def test_the_page_tells_what_came_of_it(outcomes: Outcomes) -> None:
    """Of the peers that are installed here; a kernel that has no such call tells nothing of the daemon."""
    written = page.written()
    for subject in SUBJECTS:
        column = title(subject)
        if column is None or (column not in written and not subject.ours):
            continue
        told = {name: (written[column].get(name), outcome.word) for name, outcome in outcomes[column].items()}
        stale = {name: words for name, words in told.items() if "absent" not in words and words[0] != words[1]}
        assert stale == {}, "make attacks"
    assert all(list(rows) == NAMES for rows in written.values()), "make attacks"
