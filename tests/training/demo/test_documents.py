"""Documents: their gold answers follow from their text, and held-out material stays out of training."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.demo.grammar_parser import Recogniser
from tests.training.demo.teaching import Said, replies

from longfold_agent import load_tokens
from longfold_agent.profiles import demo
from longfold_agent.profiles.choices import LETTERS, options_in, split_question
from longfold_agent.profiles.demo import UNKNOWN
from longfold_agent.types import Call, CallKind, Completion, Update, UpdateKind
from longfold_training.demo import names, values
from longfold_training.demo.collections import MOST
from longfold_training.demo.documents import FAMILIES, SEVERAL, Family, Item, generate, value_of
from longfold_training.demo.grammar import expand
from longfold_training.demo.hops import HOP_QUESTIONS
from longfold_training.demo.listing import COUNT_QUESTIONS, LIST_QUESTIONS, LISTING
from longfold_training.demo.material import Material, unseen
from longfold_training.demo.ordinary import ORDINARY
from longfold_training.demo.rules import QUESTIONS, RULES
from longfold_training.demo.sentences import bindings
from longfold_training.demo.story import last_values, make_fact, make_story, name_of
from longfold_training.demo.words import attribute, attributes, read_lines, split_of
from longfold_training.errors import RecipeError

TOKENS = load_tokens(Path(__file__).parents[3] / "server" / "longfold_server" / "policy" / "tokenizer.json")


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


@pytest.mark.parametrize("family", FAMILIES + SEVERAL)
def test_no_document_is_longer_than_its_stretches_may_be(family: Family) -> None:
    rng = Random(4)
    for _ in range(12):
        document = generate(rng, chunks=1, count=TOKENS.count, chunk_tokens=112, families=(family,))
        assert TOKENS.count(document.text) <= 112


def test_what_no_document_can_hold_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"single, list.* 64 tokens"):
        generate(Random(4), chunks=2, count=TOKENS.count, chunk_tokens=32, per_family=4, families=("single", "list"))


def test_a_document_that_is_drawn_again_changes_none_behind_it(count: Callable[[str], int]) -> None:
    rng = Random(4)
    first, second = (generate(rng, chunks=2, count=count, chunk_tokens=128) for _ in range(2))

    def refusing(text: str) -> int:
        return 10**6 if text == first.text else count(text)

    rng = Random(4)
    other, behind = (generate(rng, chunks=2, count=refusing, chunk_tokens=128) for _ in range(2))
    assert other != first and behind == second


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


@pytest.mark.parametrize(
    ("collection", "kind"),
    [
        ("everyday", "statements"), ("everyday", "updates"), ("heldout", "statements"), ("heldout", "updates"),
        ("everyday", "lists"), ("heldout", "lists"),
    ],
)  # fmt: skip
def test_no_held_out_template_is_a_sentence_of_the_grammar(
    collection: str, kind: Literal["statements", "updates", "lists"]
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
    assert not Recogniser("Nobody but {V} and {V2} would have been {A} of {E}.").produced()
    bound |= {symbol: f"{{{symbol}}}" for symbol in ("A1", "anA1", "V2")}
    for rule in (
        rule for kind in ("litem", "litems") for rule in LISTING[kind] if re.search(r"\{o|\{past", rule) is None
    ):
        assert Recogniser(f"in fact, {expand(rng, rule, bound)}").produced()


def test_held_out_questions_are_asked_in_no_training_way() -> None:
    assert not set(unseen("questions")) & {*QUESTIONS, *read_lines("questions")}
    assert not set(unseen("list_questions")) & set(LIST_QUESTIONS)
    assert not set(unseen("count_questions")) & set(COUNT_QUESTIONS)
    assert not set(unseen("hop_questions")) & set(HOP_QUESTIONS)


def test_every_statement_of_the_grammar_holds_its_value() -> None:
    rng = Random(4)
    wanted = attribute(rng, "train")
    fact = make_fact(rng, "Norbel", wanted, "train")
    for rules in (
        *(RULES[kind] for kind in ("state", "update", "passage", "line")),
        *(ORDINARY[kind] for kind in ("statement", "change")),
        *(read_lines(kind) for kind in ("statements", "changes")),
    ):
        for template in rules:
            bound = bindings(fact, "the value before", fact, fact)
            assert fact.value in expand(rng, template, bound)
            assert "Norbel" in expand(rng, template, bound)


@pytest.mark.parametrize("templates", ["everyday", "grammar"])
@pytest.mark.parametrize("seed", range(6))
def test_answers_over_several_facts_are_those_of_a_reading_by_the_teacher(
    seed: int, templates: Literal["everyday", "grammar"], count: Callable[[str], int]
) -> None:
    """Every reply goes through the profile, chunk by chunk; the last memory is then answered from."""
    document = generate(
        Random(seed), chunks=6, count=count, chunk_tokens=220, per_family=2, families=SEVERAL,
        material=Material(templates=templates),
    )  # fmt: skip
    assert [item.family for item in document.items] == [family for family in SEVERAL for _ in range(2)]
    for item in document.items:
        memory = plan = ""
        for number, (text, taught) in enumerate(zip(document.chunks, item.updates, strict=True)):
            for said in replies(item, number):
                memory, plan = taken(item, number, text, said, memory, plan)
            assert (memory, plan) == taught
            assert item.memories[number] == value_of(memory)
        held = value_of(memory)
        assert plan == demo.AFTER_FIND
        if item.family == "hops":
            assert memory.endswith(f": {item.answer}")
            continue
        assert item.answer == (str(len(held.split(demo.BETWEEN))) if item.family == "count" else held)
        assert 2 <= len(held.split(demo.BETWEEN)) <= MOST


def taken(item: Item, number: int, text: str, said: Said, memory: str, plan: str) -> tuple[str, str]:
    """Memory and plan after the profile has taken a reply that writes `said`, or keeps."""
    seen = demo.shown(item.question, memory, plan)
    words = demo.read_words(seen.question, seen.memory, demo.shown_text(text))
    reply = "<keep>" if said is None else demo.render_update(words, *said)
    call = Call(f"read/{number}", CallKind.READ, item.question, memory, plan, number)
    update = demo.profile().parse(call, Completion(reply, "stop"), text, TOKENS)
    assert isinstance(update, Update)
    assert update.kind is (UpdateKind.KEEP if said is None else UpdateKind.REWRITE)
    return (memory, plan) if said is None else (update.memory, update.plan)


def test_a_hop_never_stands_behind_what_it_leads_to(count: Callable[[str], int]) -> None:
    for seed in range(12):
        document = generate(Random(seed), chunks=3, count=count, chunk_tokens=200, per_family=2, families=("hops",))
        for item in document.items:
            first, second = item.updates[-1][0].split("\n")
            link = first.partition(": ")[2]
            assert second == demo.memory_line(item.key.attribute, link, item.answer)
            assert item.answer in document.text[document.text.index(link) :]
            assert next(memory for memory, _ in item.updates if memory).startswith(first)


def test_every_family_is_asked(count: Callable[[str], int]) -> None:
    document = generate(Random(0), chunks=2, count=count, chunk_tokens=128)
    assert tuple(item.family for item in document.items) == FAMILIES
