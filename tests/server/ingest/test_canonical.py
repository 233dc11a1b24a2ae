from __future__ import annotations

import sys
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from longfold_server.ingest.canonical import LONGEST_RUN, Canonical, canonical, joining_characters

ALPHABET = st.one_of(
    st.sampled_from("ab \n\r\t\f\x00\x0b\x1b\u0301\u0323\u0327e\u00e9\u0344\u0f73\u0f71\u1100\u1161\u11a8\uac00\u09c7\u09be"  # noqa: E501
                    "\u3099\u304b\u0958\u212b\ud800\udfff\u034f\U0001d15e\U000110a5\U000110ba\ufeff"),
    st.characters(),
)  # fmt: skip
TEXTS = st.one_of(
    st.text(ALPHABET, max_size=200),
    st.lists(st.sampled_from(["\u0301", "\u0323", "e", "\u0301" * 29, "\u0323\u0301" * 20, "\u09be" * 40, "\r"])).map(
        "".join
    ),
)


@settings(max_examples=400)
@given(TEXTS, st.lists(st.integers(1, 50), min_size=1))
def test_streaming_equals_the_whole_text_for_any_pieces(text: str, sizes: list[int]) -> None:
    form = Canonical()
    out, place, turn = [], 0, 0
    while place < len(text):
        size = sizes[turn % len(sizes)]
        out.append(form.feed(text[place : place + size]))
        place, turn = place + size, turn + 1
    out.append(form.finish())
    assert "".join(out) == canonical(text)


@given(TEXTS)
def test_the_form_is_nfc_without_controls(text: str) -> None:
    form = canonical(text)
    assert unicodedata.is_normalized("NFC", form)
    assert not any((ord(char) < 32 and char not in "\t\n\f") or 0xD800 <= ord(char) <= 0xDFFF for char in form)
    form.encode("utf-8")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "M"]), max_size=300))
def test_ordinary_text_only_becomes_nfc(text: str) -> None:
    assert canonical(text) == unicodedata.normalize("NFC", text)


def test_newlines_and_controls() -> None:
    assert canonical("a\r\nb\rc\n\r\nd\x00e\x0bf\tg\fh\ud800i") == "a\nb\nc\n\nd\ufffde\ufffdf\tg\fh\ufffdi"


def test_a_lone_carriage_return_at_the_end_is_a_newline() -> None:
    form = Canonical()
    assert form.feed("a\r") + form.finish() == "a\n"


def test_the_set_of_joining_characters_is_right_over_all_of_unicode() -> None:
    joining = joining_characters()
    composing: set[str] = set()
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if 0xD800 <= code <= 0xDFFF or (0xAC00 <= code <= 0xD7A3):
            continue
        if unicodedata.combining(char):
            assert char in joining
        full = unicodedata.normalize("NFD", char)
        if full != char:
            composing.update(full[1:])
            assert full[0] not in joining or char in joining
    assert composing <= joining
    assert not any(char.isascii() or char.isspace() for char in joining)


def test_a_megabyte_of_reordering_marks_stays_linear_and_bounded() -> None:
    form = Canonical()
    held = 0
    out = [form.feed("e")]
    for _ in range(16):
        out.append(form.feed("\u0301\u0323" * 32_768))
        held = max(held, len(form._tail))
    out.append(form.finish())
    assert held <= LONGEST_RUN + 2
    assert len("".join(out)) > 1_000_000
