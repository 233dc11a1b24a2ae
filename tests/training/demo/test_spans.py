"""Labels on a chunk's tokens: the stated values of the asked key, and where its statements are complete."""

from __future__ import annotations

from random import Random

import pytest
from tokenizers import Tokenizer

from longfold_agent.profiles import demo as prompt
from longfold_agent.profiles.placeholders import Placeholders
from longfold_training.demo.rows import exercises, make_rows
from longfold_training.demo.sentences import Fact, Passage
from longfold_training.demo.spans import BEGINS, INSIDE, STATED, labels, spans
from longfold_training.demo.story import Key, Story, make_story

KEY = Key("Norbel", "access code", "code")
QUESTION = "What is the access code of Norbel?"


def told(*passages: Passage, key: Key = KEY) -> list[tuple[int, str]]:
    """Bits and labelled text."""
    text = " ".join(["Rain.", *(passage.text for passage in passages), "Snow."])
    hidden = Placeholders(QUESTION).hide(text)
    story = Story(text, passages, (key,), "train")
    return [(bits, hidden[begin:end]) for bits, begin, end in spans(story, key, QUESTION)]


def fact(value: str, entity: str = "Norbel", attribute: str = "access code") -> Fact:
    return Fact(entity, attribute, value, False)


def test_a_value_behind_its_key_and_all_that_follows_are_labelled() -> None:
    made = told(Passage("The access code of Norbel is AX-4821, they say.", (fact("AX-4821"),)))
    assert made == [(BEGINS | INSIDE, "AX-4821"), (STATED, "1, they say.")]


def test_a_value_before_its_key_is_known_later() -> None:
    made = told(Passage("AX-4821 is the access code of Norbel today.", (fact("AX-4821"),)))
    assert made == [(STATED, "> today.")]


def test_every_statement_of_the_key_and_no_other_counts() -> None:
    made = told(
        Passage("Norbel has the access code 12.", (fact("12"),)),
        Passage("The access code of Trask is 13.", (fact("13", "Trask"),)),
        Passage("The height of Norbel is 14.", (fact("14", attribute="height"),)),
        Passage("The access code of Norbel is now 15.", (fact("15"),)),
    )
    assert [text for bits, text in made if bits & BEGINS] == ["12", "15"]


@pytest.mark.parametrize("seed", range(20))
def test_a_find_has_labels_and_a_keep_has_none(seed: int, tokenizer: Tokenizer) -> None:
    rows = [row for row in make_rows(Random(seed), tokenizer, 64, 6, "train") if row.reads]
    for row in rows:
        assert len(row.labels) == len(row.prompt)
        assert row.tag in ("find", "update") or not any(row.labels)
    assert all(not row.labels for row in make_rows(Random(seed), tokenizer, 64, 6, "train") if not row.reads)


def test_what_is_labelled_as_a_value_is_the_value() -> None:
    found = checked = 0
    for seed in range(60):
        story = make_story(Random(seed), 64, 6, "train", 0.75)
        for made in exercises(Random(seed), story, 6):
            values = [made.prompt.split("<chunk>", 1)[1][low:high] for bits, low, high in made.marked if bits & BEGINS]
            if values:
                said = prompt.parse_update("", made.target)
                assert said is not None
                found += said[0].casefold().endswith(values[-1].strip().casefold())
                checked += 1
    assert checked > 30 and found / checked > 0.9  # a last value that stands before its key has no label


def test_bits_are_set_on_the_tokens_that_overlap() -> None:
    offsets = [(0, 7), (7, 10), (10, 14), (14, 15)]
    marked = [(BEGINS | INSIDE, 1, 7), (STATED, 6, 8)]
    assert labels(offsets, 7, marked) == [0, BEGINS | INSIDE, INSIDE | STATED, STATED]
