"""Words of a question as numbered tokens: which words, where in a text, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_agent.profiles.placeholders import COMMON, MOST, TOKENS, Placeholders

ASKED = Placeholders("What is the access code of Norbel Mills?")


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What is the access code of Norbel?", ["access", "code", "Norbel"]),
        ("Tell me Dr. O'Hara's half-life.", ["Dr", "O", "Hara", "half", "life"]),
        ("What is the code of code Code?", ["code"]),
        ("What is the length of Line D and line s?", ["length", "Line", "D"]),
        ("What is the weight of pump 7?", ["weight", "pump", "7"]),
        ("What is it?", []),
        ("", []),
    ],
)
def test_what_is_asked_about_is_told_by_these_words(question: str, words: list[str]) -> None:
    assert list(Placeholders(question).words.values()) == words


def test_further_words_stay_as_they_are() -> None:
    words = [f"word{letter}" for letter in "abcdefghijklmnopqrst"]
    hidden = Placeholders(" ".join(words)).hide(" ".join(words))
    assert hidden == "".join(TOKENS) + " " + " ".join(words[MOST:])


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("The access code of Norbel Mills is 4821.", "The<w1><w2> of<w3><w4> is 4821."),
        ("NORBEL MILLS: access-code", "<w3><w4>:<w1>-<w2>"),
        ("Norbel's Codes\nencode\ncode", "<w3>'s Codes\nencode\n<w2>"),
        ("(Norbel) _code_ code_name", "(<w3>) _<w2>_<w2>_name"),
    ],
)
def test_words_are_whole_and_in_any_case(text: str, hidden: str) -> None:
    assert ASKED.hide(text) == hidden


def test_the_digits_of_a_number_are_no_word() -> None:
    asked = Placeholders("What is the weight of pump 7?")
    assert asked.hide("7 kg, 7.5 kg, 1,7 kg, 17 kg, pump 7, 7.") == "<w3> kg, 7.5 kg, 1,7 kg, 17 kg,<w2><w3>,<w3>."


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("<w1><w2> of<w3>: 4821", "access code of Norbel: 4821"),
        ("<w1> <w2>-<w3> (<w4>)", "access code-Norbel (Mills)"),
        ("<w9><w3><w16>", "Norbel"),
        ("<w0> <w99> <w", "<w0> <w"),
        ("", ""),
    ],
)
def test_tokens_become_the_words_as_the_question_spells_them(said: str, shown: str) -> None:
    assert ASKED.show(said) == shown


_WORDS = st.lists(
    st.sampled_from(
        ["access", "CODE", "Norbel", "mills", "is", "4821", "AX-7", "a", "of", "(", "it's", "\u0131", "\u212a"]
    ),
    max_size=12,
).map(" ".join)  # fmt: skip


@given(_WORDS)
def test_hidden_and_shown_a_text_has_its_words_again(text: str) -> None:
    hidden = ASKED.hide(text)
    assert ASKED.hide(hidden) == hidden
    assert len(hidden.split("<")) - 1 == sum(word.casefold() in ASKED.words for word in text.split())
    assert ASKED.show(hidden).casefold().replace(" ", "") == text.casefold().replace(" ", "")


@given(st.text(), st.text())
def test_any_question_and_any_text_will_do(question: str, text: str) -> None:
    asked = Placeholders(question)
    assert asked.show(asked.hide(text)) is not None
    assert len(asked.words) <= MOST and not set(asked.words) & {word for word in COMMON if len(word) > 1}
