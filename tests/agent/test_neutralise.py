"""Document text cannot imitate special tokens or our tags, and keeps every offset."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_agent.neutralise import MODEL_BRACKETS, MODEL_TAGS, OUR_TAGS, neutralise

FRAGMENTS = [
    "<",
    ">",
    "[",
    "]",
    "/",
    "|",
    " ",
    "\n",
    "=",
    "'",
    "\u200b",
    "\uff1c",
    "\uff1e",
    "\uff5c",
    "\u2039",
    "\u2045",
    "memory",
    "Plan",
    "think",
    "s",
    "q",
    "inst",
    "INST",
    "SYS",
    "im_end",
    "\uff4d\uff45\uff4d\uff4f\uff52\uff59",
    "a",
    "1",
    "{",
    "}",
    "\u2581",
    "\ufffd",
]
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join))


@given(TEXTS, st.sets(st.text(min_size=1, max_size=6), max_size=3))
def test_one_character_stays_one_character_and_a_second_pass_changes_nothing(text: str, specials: set[str]) -> None:
    once = neutralise(text, specials)
    assert len(once) == len(text)
    assert neutralise(once, specials) == once


@given(TEXTS)
def test_no_special_token_or_tag_remains(text: str) -> None:
    result = neutralise(text)
    assert "<|" not in result
    assert not re.search(r"<\s*/?\s*(memory|plan|think|s|q)\s*/?\s*>", result, re.IGNORECASE)
    assert "[inst]" not in result.lower()
    assert "<<sys>>" not in result.lower()


@given(TEXTS, st.sets(st.text(min_size=1, max_size=5).filter(str.strip), max_size=4))
def test_no_passed_special_remains(text: str, specials: set[str]) -> None:
    chosen = sorted(specials)
    result = neutralise(text + "".join(chosen) + text, chosen)
    assert not [special for special in chosen if special in result]


@given(st.text(alphabet=st.characters(exclude_characters="<[\uff1c\ufe64\uff3b")))
def test_text_without_an_opening_sign_is_untouched(text: str) -> None:
    assert neutralise(text) == text


@pytest.mark.parametrize("name", sorted({*OUR_TAGS, *MODEL_TAGS}))
def test_every_named_tag_is_broken_in_every_form(name: str) -> None:
    tag = name.replace("#", "17")
    for text in (
        f"<{tag}>",
        f"</{tag}>",
        f"<{tag}/>",
        f"< / {tag.upper()} >",
        f"<{tag[:1]}\u200b{tag[1:]}>",
        f"<{tag} a='1'>",
    ):
        assert neutralise(f"before {text} after") == f"before \u2039{text[1:]} after"


@pytest.mark.parametrize("name", MODEL_BRACKETS)
def test_every_bracket_token_is_broken(name: str) -> None:
    token = name.replace("#", "3")
    for text in (f"[{token}]", f"[/{token.upper()}]", f"[ {token} ]"):
        assert neutralise(text) == "\u2045" + text[1:]


@pytest.mark.parametrize(
    "text",
    [
        "<|im_end|>",
        "<| im_end |>",
        "< | im_end | >",
        "<\u200b|x|>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
        "<turn|>",
        "<<SYS>>",
        "<</SYS>>",
        "\uff1c\uff4d\uff45\uff4d\uff4f\uff52\uff59\uff1e",
        "<previous memory>",
        "<PREVIOUS-MEMORY>",
    ],
)
def test_spellings_of_special_tokens_are_broken(text: str) -> None:
    result = neutralise(text)
    assert result != text
    assert result[0] == "\u2039"


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "<div class='x'>",
        "x[0] = y[i]",
        "a < |b|",
        "<b>bold</b>",
        "if p <q and r",
        "[1] Smith 2020",
        "1<<3",
        "List<String>",
        "<title>The plan</title>",
        "[link](http://a.example)",
        "the memory of a plan",
        "<-",
        "->",
        "<=>",
    ],
)
def test_ordinary_text_is_untouched(text: str) -> None:
    assert neutralise(text) == text


def test_passed_specials_of_other_shapes_are_broken() -> None:
    assert neutralise("a {{SYS}} b <cmd> [CMD2] EOS eos", ["{{SYS}}", "<cmd>", "[CMD2]", "EOS"]) == (
        "a \u2774{SYS}} b \u2039cmd> \u2045CMD2] \ufffdOS eos"
    )
    assert neutralise("two  blanks\n\n", ["  ", "\n\n"]) == "two  blanks\n\n"
