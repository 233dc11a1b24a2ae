"""Rows of the single pass: what the teacher replies to hand-made texts, and that the profile takes every reply."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from longfold_agent.profiles import demo as prompt
from longfold_agent.profiles.choices import LETTERS
from longfold_agent.profiles.demo import ANS, CHUNK, EOS, UNKNOWN, DemoProfile
from longfold_agent.types import Completion, Query
from longfold_training.demo import teacher
from longfold_training.demo.asked import Tale
from longfold_training.demo.direct import CHOICE_SHARE, choices, direct_load, longest, over_several, single
from longfold_training.demo.hops import Chain
from longfold_training.demo.rows import Exercise
from longfold_training.demo.schedule import LOADS
from longfold_training.demo.sentences import Fact, Passage
from longfold_training.demo.several import make_tale
from longfold_training.demo.spans import STATED
from longfold_training.demo.story import Key, Story, last_values, make_story
from longfold_training.demo.words import Attribute

PROFILE = DemoProfile(replace(prompt.BUDGETS, direct=512))
KEY = Key("Norbel", "access code", "code")


def states(value: str, text: str, entity: str = "Norbel") -> Passage:
    return Passage(text, (Fact(entity, "access code", value),))


OLD = states("AX-4821", "The access code of Norbel is AX-4821.")
NEW = states("BT-7", "The access code of Norbel is now BT-7.")
OTHER = states("QQ-99", "The access code of Trask is QQ-99.", "Trask")


def story(*passages: Passage) -> Story:
    return Story(" ".join(one.text for one in passages), passages, (KEY,), "train", last_values(passages))


def taken(made: Exercise, text: str, question: str, options: list[str]) -> str:
    """The answer that the profile makes of an exercise's reply; the prompt is the one that is served."""
    lines = (f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
    query = Query(question, "\n".join(lines))
    assert PROFILE.render_direct(query, [("a title", text)]).text == made.prompt
    return PROFILE.parse_direct(Completion(made.target, "stop"), query, [("a title", text)])


def right(value: str, options: list[str]) -> str:
    """What is right where the text states `value`: a letter, or `UNKNOWN` where no option is right."""
    if value in options:
        return LETTERS[options.index(value)]
    return UNKNOWN if options else value


def asked_of(made: Story, key: Key, seed: int) -> tuple[Exercise, str, list[str]]:
    """An exercise of `single`, with its question and options."""
    rng = Random(seed)
    question = teacher.question(rng, key)
    options = choices(rng, made, key) if rng.random() < CHOICE_SHARE else []
    return single(Random(seed), made, key), question, options


@pytest.mark.parametrize(
    ("passages", "answer", "family"),
    [
        ((OLD, OTHER), "AX-4821", "direct_single"),
        ((OLD, OTHER, NEW), "BT-7", "direct_update"),
        ((OTHER,), UNKNOWN, "direct_absent"),
    ],
)
def test_the_last_value_of_the_text_is_the_answer(passages: tuple[Passage, ...], answer: str, family: str) -> None:
    seen = set()
    for seed in range(40):
        made, question, options = asked_of(story(*passages), KEY, seed)
        said = taken(made, story(*passages).text, question, options)
        assert made.prompt.endswith("<ans>") and "<mem>" not in made.prompt
        assert said == right(answer, options)
        seen.add(made.tag)
        assert [mark.value for mark in made.marked if mark.bits & STATED] == [
            prompt.direct_words(question, options, story(*passages).text).hide(f" {value}")
            for value in ("AX-4821", "BT-7")
            if value in story(*passages).text
        ]
    assert seen == {family, "direct_choice"}


def test_a_wrong_option_may_stand_in_the_text() -> None:
    """Else the policy would learn to look for an option instead of for what is asked."""
    drawn = Counter(option for seed in range(40) for option in choices(Random(seed), story(OLD, OTHER, NEW), KEY))
    assert drawn["BT-7"] >= 36 and drawn["AX-4821"] > 4 and drawn["QQ-99"] > 4
    for seed in range(40):
        options = choices(Random(seed), story(OLD, OTHER, NEW), KEY)
        assert len({option.lower() for option in options}) == len(options) >= 2


CHAIN = Chain("Norbel", Attribute("manager", "person"), Attribute("access code", "code"))
MANAGER = Passage("Bernard Hale is the manager of Norbel.", (Fact("Norbel", "manager", "Bernard Hale"),))
CODE = states("AX-4821", "Bernard Hale has the access code AX-4821.", "Bernard Hale")


@pytest.mark.parametrize(
    ("passages", "answer"),
    [
        ((MANAGER, OTHER, CODE), "AX-4821"),
        ((CODE, MANAGER), "AX-4821"),
        ((MANAGER, OTHER), UNKNOWN),
        ((CODE,), UNKNOWN),
    ],
)
def test_two_hops_need_both_facts_in_either_order(passages: tuple[Passage, ...], answer: str) -> None:
    text = " ".join(one.text for one in passages)
    made = over_several(Random(3), CHAIN, Tale(text, passages, (), ()))
    assert taken(made, text, CHAIN.question(Random(3)), []) == answer


@given(st.integers(0, 10**6), st.sampled_from((64, 256, 512)))
@settings(max_examples=40, deadline=None)
def test_the_profile_takes_every_reply_over_several_facts(seed: int, tokens: int) -> None:
    tale = make_tale(Random(seed), tokens, "train", 0.75)
    for number, (asked, _) in enumerate(tale.asked):
        made = over_several(Random(number), asked, tale)
        known = asked.read((), tale.passages) or ()
        assert taken(made, tale.text, asked.question(Random(number)), []) == asked.answer(known) or UNKNOWN


def test_the_profile_takes_replies_over_one_fact() -> None:
    for seed in range(40):
        made = make_story(Random(seed), 128, 6, "train", 0.75)
        for key in made.keys:
            exercise, question, options = asked_of(made, key, seed)
            said = taken(exercise, made.text, question, options)
            assert said.casefold() == right(made.last_value(key) or UNKNOWN, options).casefold()


@pytest.mark.parametrize("chunk", [64, 256])
def test_a_step_takes_no_more_tokens_than_its_load(chunk: int, tokenizer: Tokenizer) -> None:
    lengths = []
    for seed in range(6):
        rows = direct_load(Random(seed), tokenizer, LOADS[chunk], "train", 0.75, 0.25)
        lengths.append(max(len(row.prompt) + len(row.target) for row in rows))
        assert sum(len(row.prompt) + len(row.target) for row in rows) < LOADS[chunk].rows * LOADS[chunk].length
        several = sum(row.tag in ("direct_list", "direct_count", "direct_hops") for row in rows)
        assert several == -(-len(rows) // 4)
        for row in rows:
            assert row.reads and row.prompt[-1] == ANS and CHUNK in row.prompt and row.target[-1] == EOS
            assert row.decisive == tuple(range(len(row.target))) and len(row.labels) == len(row.prompt)
    assert max(lengths) > 1.2 * min(lengths)
    assert longest(chunk) == 2 * chunk
