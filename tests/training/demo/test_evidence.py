"""Evidence: the chunk's own words from the attribute (else the entity) through the value."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longfold_agent.profiles import demo as prompt
from longfold_training.demo.evidence import LONGEST, evidence
from longfold_training.demo.rows import exercises
from longfold_training.demo.story import make_story


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("It rained. The access code of Norbel is AX-4821 now.", "access code of Norbel is AX-4821"),
        ("Norbel's Access Code, they say, is AX-4821.", "Access Code, they say, is AX-4821"),
        ("For Norbel they chose AX-4821 as the access code.", "Norbel they chose AX-4821"),
        ("AX-4821 is the access code of Norbel.", "AX-4821"),
        ("The access code was XAX-4821; the access code is ax-4821.", "access code is ax-4821"),
        ("The access code is AX-48215.", "AX-4821"),
        ("", "AX-4821"),
    ],
)  # fmt: skip
def test_the_quote_runs_from_the_key_through_the_value(text: str, quote: str) -> None:
    assert evidence(text, "access code", "Norbel", "AX-4821") == quote


def test_the_nearest_mention_before_the_value_counts() -> None:
    text = "The access code was lost. The access code of Norbel is AX-4821."
    assert evidence(text, "access code", "Norbel", "AX-4821") == "access code of Norbel is AX-4821"


def test_an_article_of_the_name_does_not_matter() -> None:
    assert evidence("At Old Mill it is 12.", "height", "the Old Mill", "12") == "Old Mill it is 12"


def test_a_mention_too_far_away_is_not_quoted() -> None:
    text = "The access code, " + "well, " * (LONGEST // 6) + "is AX-4821."
    assert evidence(text, "access code", "Norbel", "AX-4821") == "AX-4821"


def test_signs_of_patterns_are_plain_text() -> None:
    assert evidence("The rate (net) of A.B* is C++.", "rate (net)", "A.B*", "C++") == "rate (net) of A.B* is C++"
    assert evidence("The rate of A.B* is C++ now", "rate", "A.B*", "C++") == "rate of A.B* is C++"


@given(st.text(max_size=80), st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
def test_a_quote_ends_in_the_value_for_any_text(text: str, attribute: str, value: str) -> None:
    text = text.encode("ascii", "ignore").decode()
    value = value.encode("ascii", "ignore").decode() or "v"
    found = evidence(text, attribute, "E", value)
    assert found.lower().endswith(value.lower())
    assert found in text or found == value


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_every_quote_of_the_teacher_stands_in_the_chunk_and_ends_in_the_value(seed: int) -> None:
    story = make_story(Random(seed), 96, 6, "train")
    for made in exercises(Random(seed), story, 6):
        if not made.reads or made.target == "<keep>":
            continue
        quote = made.target.removeprefix("<quote> ").split("<mem>")[0]
        parsed = prompt.parse_update(made.target)
        assert parsed is not None
        assert quote.lower().endswith(parsed[0].rsplit(": ", 1)[1].lower())
        assert " ".join(quote.split()) in " ".join(story.text.split())
