"""Words of a question as numbered tokens: which words, where in a text, and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_agent.profiles.placeholders import COMMON, MOST, SLOTS, TOKENS, Placeholders, singulars

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
    asked = Placeholders(" ".join(words))
    assert list(asked.words) == words[:MOST]
    assert asked.hide(" ".join(words)).startswith("".join(TOKENS[:MOST]) + "<r")


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


SEVERAL = Placeholders("List the passengers and berths of Norbel.", text="Many a List of parties.")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("A passenger of Norbel.", "A<w1> of<w3>."),
        ("Passengers: the berth", "<w1>: the<w2>"),
        ("passengership", "passengership"),
        ("List the passengers", "List the<w1>"),
    ],
)
def test_one_of_several_is_a_word_of_the_question(text: str, hidden: str) -> None:
    assert SEVERAL.several and SEVERAL.hide(text) == hidden
    assert not ASKED.several and "codes" in ASKED.hide("access codes")


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        ("List the tools of Norbel.", "List the<w1> of<w2>."),
        ("Please list all tools of Norbel.", "Please list all<w1> of<w2>."),
        ("list Norbel's tools", "list<w1>'s<w2>"),
        ("How many tools has Norbel?", "How many<w1> has<w2>?"),
        ("What are the tools of Norbel?", "What are the<w1> of<w2>?"),
        ("What is the wine list of Norbel?", "What is the<w1><w2> of<w3>?"),
        ("list price of Norbel", "<w1><w2> of<w3>"),
        ("Who is the many of Norbel?", "Who is the<w1> of<w2>?"),
        ("Are you able to name the wine list of Norbel?", "Are you<w1> to<w2> the<w3><w4> of<w5>?"),
    ],
)
def test_words_that_ask_for_several_stay_visible(question: str, shown: str) -> None:
    assert Placeholders(question).hide(question).strip() == shown


@pytest.mark.parametrize(
    ("word", "ones"),
    [
        ("tools", ("tool",)), ("parties", ("partie", "party")), ("dishes", ("dishe", "dish")), ("glass", ()),
        ("is", ()), ("bus", ()), ("boxes", ("boxe", "box")), ("tool", ()), ("theirs", ()),
    ],
)  # fmt: skip
def test_what_a_word_may_be_the_plural_of(word: str, ones: tuple[str, ...]) -> None:
    assert singulars(word) == ones


def hidden(text: str, said: tuple[str, ...] = ()) -> list[str]:
    """The names and numbers that have a token of their own in a text that is read, in its order."""
    words = Placeholders("What is the access code of Norbel?", said, text)
    return [words.show(token).strip() for token in re.findall("<[cn][0-9]+>", words.hide(text))]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Water in Paris. Then Paris slept.", ["Paris", "Paris"]),
        ("Most is it.\nWinter\n\n- Paper\n\u201cWater is it.\u201d", []),
        ("Water is it, says Water.", ["Water", "Water"]),
        ("Copper is it.\nTiax\n\n- Pinestead\n\u201cWater is it.\u201d", ["Copper", "Tiax", "Pinestead"]),
        ("Bernard Hale runs it. Hale does.", ["Bernard Hale", "Hale"]),
        ("Since Norbel left, However Everyone. The Hague", ["Hague"]),
        ("Ask Dr. Hale or M. Orr or Mrs. Voss.", ["Dr. Hale", "M. Orr", "Mrs. Voss"]),
        ("It is New Ske. WORKING on it. Yes. Voss", ["Ske", "WORKING", "Voss"]),
        ("On July 9, 2017, or 12th May, 1922, page 7, 2017 and March 3, 17",
         ["July 9, 2017", "12th May, 1922", "7", "2017", "March 3", "17"]),
        ("It costs $4,821 or 31.03.1 at 10:45 (page 7), 12%.", ["4,821", "31.03.1", "10:45", "7", "12%"]),
        ("KX-4821/B, HS3963, 19-year-old, parcel-67 and 2031-05-12.",
         ["KX-4821/B", "HS3963", "19-year-old", "parcel-67", "2031-05-12"]),
        ("By 12 May 2031 it costs EUR 5,000, 20 30 crowns. Total | 7 | 8 kmh",
         ["12 May 2031", "EUR 5,000", "20", "30 crowns", "7", "8"]),
        ("5 o'clock, 30 \u00b0C, 1.5 million euros, 7 codes", ["5 o'clock", "30 \u00b0C", "1.5 million euros", "7"]),
        ("Then Norbel Hale met Ann Norbel Orr.", ["Hale", "Ann", "Orr"]),
        ("\u00c9tienne met \u00c9lise and \u0416\u0443\u043a", ["\u00c9tienne", "\u00c9lise", "\u0416\u0443\u043a"]),
        ("x=5 and y= 5 and a_6", ["5"]),
    ],
)  # fmt: skip
def test_names_and_numbers_have_tokens(text: str, names: list[str]) -> None:
    assert hidden(text) == names


def test_a_unit_that_is_asked_for_stays_apart() -> None:
    words = Placeholders("How many points has Norbel?", text="Norbel has 7 points.")
    assert re.fullmatch("<w2> has<n[0-9]+><w1>.", words.hide("Norbel has 7 points."))


def test_what_was_said_before_is_a_name_wherever_it_stands() -> None:
    assert hidden("Water is it.", ("access code of Norbel: Water",)) == ["Water"]


def test_each_rarer_word_has_a_token_and_what_sentences_are_built_with_has_none() -> None:
    text = "the crooked blanket was replaced by sugar beet, x"
    shown = Placeholders("What is the code?", text=text)
    assert re.fullmatch("the<r[0-9]+><r[0-9]+> was replaced by<r[0-9]+><r[0-9]+>, x", shown.hide(text))
    assert shown.show(shown.hide(text)) == text


def test_one_spelling_has_one_token_and_each_spelling_its_own() -> None:
    text = " ".join(f"of Aa{letter} is {number}" for number, letter in enumerate("bcdefghijk"))
    words = Placeholders("", text=f"{text} {text}")
    once = re.findall("<[cn][0-9]+>", words.hide(text))
    assert len(set(once)) == len(once) == 20
    assert re.findall("<[cn][0-9]+>", words.hide(f"{text} {text}")) == once + once


def test_a_token_follows_from_the_spelling() -> None:
    one, other = (Placeholders("", text=f"met {first} and Orr").hide(" Orr") for first in ("Hale", "Voss"))
    assert one == other


def test_names_beyond_the_tokens_stay() -> None:
    for kind, letter in (("c", "Q"), ("r", "q")):
        names = [f"{letter}q{chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(SLOTS[kind] + 3)]
        words = Placeholders("", text="of " + " of ".join(names))
        assert words.show(words.hide(" of ".join(names))) == " of ".join(names)
        assert words.hide(" of ".join(names)).endswith(" of ".join(names[SLOTS[kind] :]))


@pytest.mark.parametrize(
    "text", ["a-" * 40_000, "1-" * 40_000, "1." * 40_000, "A" * 80_000, "a/1" * 30_000, "\n" * 80_000, '. "' * 20_000]
)
def test_long_runs_take_linear_time(text: str) -> None:
    words = Placeholders("What is a?", (), text)
    assert words.show(words.hide(text)) is not None


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


_TEXT = st.text(st.one_of(st.sampled_from("aB7.-/:, \n\u2014'$="), st.characters()))


@given(_TEXT)
def test_names_and_numbers_come_back_as_they_are_written(text: str) -> None:
    words = Placeholders("", text=text)
    assert words.show(words.hide(text)).strip(" ") == text.strip(" ")


@given(_TEXT, _TEXT)
def test_any_question_and_any_text_will_do(question: str, text: str) -> None:
    asked = Placeholders(question)
    assert asked.show(asked.hide(text)) is not None
    assert len(asked.words) <= MOST and not set(asked.words) & {word for word in COMMON if len(word) > 1}
