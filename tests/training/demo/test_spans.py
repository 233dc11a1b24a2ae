"""Labels on a chunk's tokens: the stated values of the asked key, and where its statements are complete."""

from __future__ import annotations

from random import Random

import pytest
from tokenizers import Tokenizer

from longfold_agent.profiles.placeholders import Placeholders
from longfold_training.demo.rows import exercises, make_rows
from longfold_training.demo.sentences import Fact, Passage
from longfold_training.demo.spans import BEGINS, INSIDE, STATED, Label, Mark, labels, marks
from longfold_training.demo.story import Key, Story, make_story

KEY = Key("Norbel", "access code", "code")
QUESTION = "What is the access code of Norbel?"


def told(*passages: Passage, key: Key = KEY) -> list[tuple[int, str, str]]:
    """Bits, labelled text and value, as written."""
    text = " ".join(["Rain.", *(passage.text for passage in passages), "Snow."])
    words = Placeholders(QUESTION, text=text)
    hidden = words.hide(text)
    story = Story(text, passages, (key,), "train")
    made = marks(story, key, words)
    return [(mark.bits, words.show(hidden[mark.begin : mark.end]), words.show(mark.value).strip()) for mark in made]


def fact(value: str, entity: str = "Norbel", attribute: str = "access code") -> Fact:
    return Fact(entity, attribute, value, False)


def test_a_value_behind_its_key_and_all_that_follows_are_labelled() -> None:
    made = told(Passage("The access code of Norbel is AX-4821, they say.", (fact("AX-4821"),)))
    assert [(bits, value) for bits, _, value in made] == [(BEGINS | INSIDE, ""), (STATED, "AX-4821")]
    assert made[1][1].endswith(">, they say.")  # from the value's last token on


def test_a_value_before_its_key_is_known_later() -> None:
    made = told(Passage("AX-4821 is the access code of Norbel today.", (fact("AX-4821"),)))
    assert made == [(STATED, "> today.", "AX-4821")]


def test_every_statement_of_the_key_and_no_other_counts() -> None:
    made = told(
        Passage("Norbel has the access code 12.", (fact("12"),)),
        Passage("The access code of Trask is 13.", (fact("13", "Trask"),)),
        Passage("The height of Norbel is 14.", (fact("14", attribute="height"),)),
        Passage("The access code of Norbel is now green paint.", (fact("green paint"),)),
    )
    assert [value for bits, _, value in made if bits & STATED] == ["12", "green paint"]
    assert [text for bits, text, _ in made if bits & BEGINS][1].endswith("> paint")  # from within green's token on


@pytest.mark.parametrize("seed", range(20))
def test_a_find_has_labels_and_a_keep_has_none(seed: int, tokenizer: Tokenizer) -> None:
    rows = [row for row in make_rows(Random(seed), tokenizer, 64, 6, "train") if row.reads]
    for row in rows:
        assert len(row.labels) == len(row.prompt)
        assert row.tag in ("find", "update") or set(row.labels) == {Label()}
    assert all(not row.labels for row in make_rows(Random(seed), tokenizer, 64, 6, "train") if not row.reads)


def test_what_is_labelled_as_a_value_is_the_value() -> None:
    found = checked = 0
    for seed in range(60):
        story = make_story(Random(seed), 64, 6, "train", 0.75)
        for made in exercises(Random(seed), story, 6):
            values = [mark.value for mark in made.marked if mark.value]
            if values:
                said = made.target.removeprefix("<mem>").split("<plan>")[0]
                found += said.casefold().endswith(values[-1].casefold())
                checked += 1
    assert checked > 60 and found / checked > 0.97


def test_bits_are_set_on_the_tokens_that_overlap() -> None:
    offsets = [(0, 7), (7, 10), (10, 14), (14, 15)]
    marked = [Mark(BEGINS | INSIDE, 1, 7), Mark(STATED, 6, 8, "x")]
    assert labels(offsets, 7, marked, {"x": 5}.__getitem__) == [
        Label(),
        Label(BEGINS | INSIDE),
        Label(INSIDE | STATED, 5),
        Label(STATED, 5),
    ]
