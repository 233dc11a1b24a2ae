"""Documents: their gold answers follow from their text, and held-out material stays out of training."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.demo.grammar_parser import Recogniser

from longfold_agent.profiles.choices import LETTERS, options_in, split_question
from longfold_agent.profiles.demo import UNKNOWN
from longfold_training.demo import names, values
from longfold_training.demo.documents import FAMILIES, Material, generate, unseen
from longfold_training.demo.grammar import expand
from longfold_training.demo.ordinary import ORDINARY
from longfold_training.demo.rules import QUESTIONS, RULES
from longfold_training.demo.sentences import bindings
from longfold_training.demo.story import last_values, make_fact, make_story, name_of
from longfold_training.demo.words import attribute, attributes, split_of


@pytest.mark.parametrize("templates", ["heldout", "grammar"])
@pytest.mark.parametrize("seed", range(4))
def test_gold_answers_stand_in_the_text(seed: int, templates: str, count: Callable[[str], int]) -> None:
    material = Material(templates="heldout" if templates == "heldout" else "grammar")
    document = generate(Random(seed), chunks=5, count=count, chunk_tokens=200, per_family=2, material=material)
    for item in document.items:
        query = split_question(item.question)
        value = item.memories[-1]
        assert value and value in document.text
        if item.family == "choice":
            options = options_in(query.instructions)
            assert options[LETTERS.index(item.answer)].lower() == value.lower()
            assert len({option.lower() for option in options}) == len(options) == 4
        else:
            assert item.answer == value
        assert item.key.attribute in query.core
        assert item.key.entity.removeprefix("the ") in query.core


def test_memories_change_only_where_the_chunk_states_the_value(count: Callable[[str], int]) -> None:
    document = generate(Random(3), chunks=8, count=count, chunk_tokens=160, per_family=3, families=("update",))
    changes = 0
    for item in document.items:
        before = ""
        for chunk, value in zip(document.chunks, item.memories, strict=True):
            if value != before:
                assert value in chunk
                changes += 1
            before = value
    assert changes > len(document.items)


def test_absent_facts_have_the_answer_unknown(count: Callable[[str], int]) -> None:
    document = generate(Random(1), chunks=3, count=count, chunk_tokens=128, per_family=2, families=("absent",))
    assert [item.answer for item in document.items] == [UNKNOWN, UNKNOWN]
    assert all(set(item.memories) == {""} for item in document.items)


def test_stretches_keep_the_token_budget(count: Callable[[str], int]) -> None:
    document = generate(Random(2), chunks=6, count=count, chunk_tokens=256, density=0.5)
    sizes = [count(chunk) for chunk in document.chunks]
    assert max(sizes) <= 256
    assert sum(sizes) > 6 * 256 * 0.5
    assert document.text == "".join(document.chunks)


def test_the_same_seed_gives_the_same_document(count: Callable[[str], int]) -> None:
    one, two, other = (generate(Random(seed), chunks=2, count=count, chunk_tokens=96) for seed in (9, 9, 10))
    assert one == two
    assert one != other


@given(st.integers(0, 10**6))
@settings(max_examples=60)
def test_the_last_stated_value_counts(seed: int) -> None:
    story = make_story(Random(seed), 96, 6, "train")
    for key in story.keys:
        last = ""
        for passage in story.passages:
            for fact in passage.facts:
                if name_of(fact.entity, fact.attribute) == name_of(key.entity, key.attribute):
                    last = fact.value
                    assert fact.value in passage.text
        assert story.last_value(key) == last
        if key.origin != "stated":
            assert last == ""
    assert last_values(story.passages) == story.index


@given(st.integers(0, 10**6))
@settings(max_examples=40)
def test_training_material_holds_nothing_held_out(seed: int) -> None:
    rng = Random(seed)
    held = {one.phrase for one in attributes("heldout")}
    for _ in range(20):
        assert attribute(rng, "train").phrase not in held
        entity = names.entity(rng, "train")
        assert split_of(entity) == "train"
        assert split_of(names.entity(rng, "heldout")) == "heldout"
        assert split_of(names.near(rng, entity, "train")) == "train"
        assert split_of(values.value(rng, rng.choice(list(values.MAKERS)), "train")) == "train"


def test_there_is_enough_to_hold_out_and_to_learn_from() -> None:
    assert len(unseen("statements")) + len(unseen("updates")) >= 80
    assert len(attributes("heldout")) >= 80
    assert len(attributes("train")) >= 400
    assert not {one.phrase for one in attributes("train")} & {one.phrase for one in attributes("heldout")}


@pytest.mark.parametrize("kind", ["statements", "updates"])
@pytest.mark.parametrize("collection", ["everyday", "heldout"])
def test_no_held_out_template_is_a_sentence_of_the_grammar(
    collection: str, kind: Literal["statements", "updates"]
) -> None:
    assert [template for template in unseen(kind, collection) if Recogniser(template).produced()] == []


def test_the_recogniser_knows_the_sentences_of_the_grammar() -> None:
    """What the test above rests on: everything that was produced is recognised, with what goes before and behind."""
    rng = Random(8)
    bound = {symbol: f"{{{symbol}}}" for symbol in ("A", "anA", "E", "V", "X")}
    plain = {symbol: rules for symbol, rules in ORDINARY.items() if symbol in ("oplain", "oplainchange")}
    for rule in (rule for rules in plain.values() for rule in rules):
        for before in ("", "In fact, ", "Since then "):
            for behind in ("", " too", ", of course"):
                assert Recogniser(before + expand(rng, rule, bound) + behind).produced()
    assert not Recogniser("Nobody but the {A} of {E} would have guessed {V}.").produced()


def test_held_out_questions_are_asked_in_no_training_way() -> None:
    assert not set(unseen("questions")) & set(QUESTIONS)


def test_every_statement_of_the_grammar_holds_its_value() -> None:
    rng = Random(4)
    wanted = attribute(rng, "train")
    fact = make_fact(rng, "Norbel", wanted, "train")
    for rules in (
        *(RULES[kind] for kind in ("state", "update", "passage", "line")),
        *(ORDINARY[kind] for kind in ("statement", "change")),
    ):
        for template in rules:
            bound = bindings(fact, "the value before", fact, fact)
            assert fact.value in expand(rng, template, bound)
            assert "Norbel" in expand(rng, template, bound)


def test_every_family_is_asked(count: Callable[[str], int]) -> None:
    document = generate(Random(0), chunks=2, count=count, chunk_tokens=128)
    assert tuple(item.family for item in document.items) == FAMILIES
