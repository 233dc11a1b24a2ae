"""Words: what compares equal, and what must not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_training.rewards.words import final, places, statements, unnumbered, without, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Blue Lantern", "  blue   LANTERN. "),
        ("AX-4821", "AX 4821"),
        ("1,204", "1204"),
        ("U.S.", "US"),
        ("J.R.R. Tolkien", "JRR Tolkien"),
        ("O\u2019Neil", "ONeil"),
        ("\uff21\uff22\uff23", "abc"),
        ("\u22125 degrees", "-5 degrees"),
        ("+5", "5"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_two_ways_of_writing_the_same_are_equal(one: str, other: str) -> None:
    assert words(one) == words(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.5", "35"),
        ("3.5", "3 5"),
        ("-5", "5"),
        ("C++", "C"),
        ("C#", "C"),
        ("1,2", "12"),
        ("0.5", "5"),
        ("the end", "then d"),
    ],
)
def test_a_sign_that_changes_the_value_stays(one: str, other: str) -> None:
    assert words(one) != words(other)


def test_scripts_without_blanks_have_a_word_for_each_sign() -> None:
    assert places("\u5317\u4eac", words("\u7b54\u6848\u662f\u5317\u4eac\u3002")) == [(3, 5)]
    assert words("\ud55c\uad6d\uc5b4 \ub2e8\uc5b4") == ["\ud55c\uad6d\uc5b4", "\ub2e8\uc5b4"]


@pytest.mark.parametrize(
    ("wanted", "text", "spans"),
    [
        ("Paris", "It is Paris, France", [(2, 3)]),
        ("Paris", "Comparison", []),
        ("the Paris", "Paris", [(0, 1)]),
        ("Lord of the Rings", "Lord of Rings", [(0, 3)]),
        ("Lord of Rings", "the Lord of the Rings", [(1, 5)]),
        ("vitamin A", "vitamin", []),
        ("vitamin A", "vitamin a", [(0, 2)]),
        ("Ann", "Ann and Ann", [(0, 1), (2, 3)]),
        ("a a b", "a a a b", [(3, 4)]),
        ("the", "the the", []),
        ("...", "...", []),
        ("long gold here", "long gold", []),
    ],
)
def test_places(wanted: str, text: str, spans: list[tuple[int, int]]) -> None:
    assert places(wanted, words(text)) == spans


def test_a_repeated_question_leaves_nothing() -> None:
    question = "Is it Paris or London?"
    assert without(question, question) == []
    assert without(f"{question} {question} Paris", question) == ["paris"]
    assert without("Is it Is it Paris or London Paris or London", question) == []
    assert without("Paris", "") == ["paris"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Paris", "Paris"),
        ("<think>The answer is Rome.</think> The answer is Paris.", "Paris."),
        ("Well. The final answer is: Paris", "Paris"),
        ("The answer is A. No, the answer is B.", "A. No, the answer is B."),
        (r"So \boxed{\text{Paris}} it is", r"\text{Paris}"),
        (r"\boxed{1} and \boxed{2}", "1\n2"),
        (r"\boxed{open", r"\boxed{open"),
        ("What is the answer?", "What is the answer?"),
        ("The answer is", "The answer is"),
    ],
)
def test_the_final_answer(text: str, expected: str) -> None:
    assert final(text) == expected


def test_statements_are_clauses() -> None:
    text = "The answer is 3.5 metres. It was 7. My answer: 4\nand more \\boxed{5}"
    assert statements(text) == ["5", "3.5 metres", "4"]
    assert statements("3.5") == []
    assert statements("the answer is A, the answer is B, the answer is A, the answer is") == ["A, the", "B, the"]


def test_bullets_and_numbers_of_lists_go() -> None:
    assert [unnumbered(line) for line in ("- Ann", " 2. Bob", "(3) Cid", "4 Dora", "5.5 Eve")] == [
        "Ann", "Bob", "Cid", "4 Dora", "5.5 Eve",
    ]  # fmt: skip


@given(st.text(max_size=200), st.text(max_size=50))
def test_any_text_has_words_that_stand_in_it(text: str, other: str) -> None:
    found = words(text)
    assert words(" ".join(found)) == found
    for start, end in places(other, found):
        assert 0 <= start < end <= len(found)
    assert without(text, text) == []
    final(text)
    statements(text)
