"""Questions over several facts: what the teacher replies to hand-made chunks, and that the profile takes every
reply."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longfold_agent import load_tokens
from longfold_agent.profiles import demo as prompt
from longfold_agent.profiles.demo import AFTER_FIND, UNKNOWN
from longfold_agent.profiles.placeholders import SLOTS, asks_for_several, singulars
from longfold_agent.protocols import Reply
from longfold_agent.types import Call, CallKind, Completion, FinalText, Update, UpdateKind
from longfold_training.demo import collections, several
from longfold_training.demo.asked import Asked, Known, Tale, answer, exercises, step
from longfold_training.demo.collections import Collection, plural, sorts
from longfold_training.demo.hops import HOP_QUESTIONS, WHO_OF, Chain
from longfold_training.demo.listing import COUNT_QUESTIONS, LIST_QUESTIONS, LISTING, WHO_ARE
from longfold_training.demo.rules import LEADS, QUESTIONS, WHEN, WHO
from longfold_training.demo.sentences import Fact, Passage
from longfold_training.demo.story import make_story
from longfold_training.demo.teacher import question as single_question
from longfold_training.demo.words import Attribute, read_lines

PROFILE = prompt.profile()
TOKENS = load_tokens(Path(__file__).parents[3] / "server" / "longfold_server" / "policy" / "tokenizer.json")
HERON = Collection("the Heron", "passenger", "person")
CHAIN = Chain("Norbel", Attribute("manager", "person"), Attribute("access code", "code"))


class Saying:
    """A question asked in these words."""

    def __init__(self, asked: Asked, question: str) -> None:
        self.asked, self.said = asked, question

    def question(self, rng: Random) -> str:
        return self.said

    def __getattr__(self, name: str) -> object:
        return getattr(self.asked, name)


def boards(text: str, *items: str, ship: str = "the Heron", many: str = "passengers") -> Passage:
    return Passage(text, tuple(Fact(ship, many, item) for item in items))


def chunk(*passages: Passage) -> str:
    return " ".join(passage.text for passage in passages)


def replied(asked: Asked, question: str, known: Known, *passages: Passage) -> tuple[str, str, Reply]:
    """Prompt and reply as text, and what the profile makes of the reply."""
    text = chunk(*passages)
    made = step(Random(0), Saying(asked, question), known, text, passages)  # type: ignore[arg-type]
    call = Call("read/0", CallKind.READ, question, asked.memory(known), asked.plan(known), 0)
    assert PROFILE.render(call, text).text == made.prompt
    return made.prompt, made.target, PROFILE.parse(call, Completion(made.target, "stop"), text, TOKENS)


def answered(asked: Asked, question: str, known: Known) -> tuple[str, str, Reply]:
    made = answer(Random(0), Saying(asked, question), known)  # type: ignore[arg-type]
    call = Call("answer", CallKind.ANSWER, question, asked.memory(known), asked.plan(known))
    assert PROFILE.render(call).text == made.prompt
    return made.prompt, made.target, PROFILE.parse(call, Completion(made.target, "stop"), "", TOKENS)


HALE = boards("Another passenger of the Heron is Bernard Hale.", "Bernard Hale")
ORR = boards("The passengers of the Heron include Ann Orr.", "Ann Orr")
SHOUTED = boards("ANN ORR is a passenger of the Heron.", "ANN ORR")
OTHER = boards("A passenger of the Gull is Carl Reed.", "Carl Reed", ship="the Gull")
SAILOR = boards("Tom Hay is a sailor of the Heron.", "Tom Hay", many="sailors")


def test_a_list_grows_by_what_the_chunk_states() -> None:
    question = "List the passengers of the Heron."
    asked, said, update = replied(HERON, question, ("Bernard Hale",), OTHER, ORR, SAILOR, HALE)
    words = prompt.read_words(question, HERON.memory(("Bernard Hale",)), chunk(OTHER, ORR, SAILOR, HALE))
    assert asked.startswith("<q> List the<w1> of the<w2>.<mem> <w1> of the<w2>:<c")
    assert "Another<w1> of the<w2> is<mem>." in asked  # one of them is the question's word, too
    assert "The<w1> of the<w2> include<c" in asked
    assert words.show(said) == f"<mem> passengers of the Heron: Ann Orr<plan> {AFTER_FIND}<eos>"
    assert update == Update(
        UpdateKind.REWRITE,
        "passengers of the Heron: Bernard Hale\npassengers of the Heron: Ann Orr",
        AFTER_FIND,
        again=True,
    )


def test_a_chunk_is_read_until_nothing_in_it_is_new() -> None:
    """Also when the same chunk says something twice, in other letters."""
    question, passages, known = "Who are the passengers of the Heron?", (ORR, HALE, SHOUTED), ()
    for found in (("Ann Orr",), ("Ann Orr", "Bernard Hale")):
        _, _, update = replied(HERON, question, known, *passages)
        assert update == Update(UpdateKind.REWRITE, HERON.memory(found), AFTER_FIND, again=True)
        known = found
    asked, said, update = replied(HERON, question, known, *passages)
    assert asked.count("<mem>") == 1 + len(passages)
    assert (said, update) == ("<keep>", Update(UpdateKind.KEEP))


def test_others_and_other_lists_are_left_alone() -> None:
    for known in ((), ("Bernard Hale",)):
        assert replied(HERON, "List the passengers of the Heron.", known, OTHER, SAILOR)[1] == "<keep>"


def test_a_list_is_answered_with_all_its_items_and_a_count_with_their_number() -> None:
    known = ("Bernard Hale", "copper kettle", "AX-4821")
    asked, said, told = answered(HERON, "List the passengers of the Heron.", known)
    assert asked.endswith("<ans>") and said.endswith("<eos>") and said.count(";") == 2
    assert told == FinalText("Bernard Hale; copper kettle; AX-4821")
    counted = Collection("pump 3", "tool", "phrase", counted=True)
    asked, said, told = answered(counted, "How many tools does pump 3 have?", known)
    assert asked.startswith("<q> How many<w1> does<w2><w3> have?<mem> <w1> of<w2><w3>:<c")
    assert (said, told) == (" 3<eos>", FinalText("3"))
    assert answered(counted, "How many tools does pump 3 have?", ())[1:] == (" unknown<eos>", FinalText(UNKNOWN))


MANAGER = Passage("Bernard Hale is the manager of Norbel.", (Fact("Norbel", "manager", "Bernard Hale"),))
CODE = Passage("Bernard Hale has the access code AX-4821.", (Fact("Bernard Hale", "access code", "AX-4821"),))
TRAPS = (
    Passage("The access code of Norbel is 77.", (Fact("Norbel", "access code", "77"),)),
    Passage("Carl Reed has the access code 12.", (Fact("Carl Reed", "access code", "12"),)),
    Passage("The manager of Trask is Ann Orr.", (Fact("Trask", "manager", "Ann Orr"),)),
)
HOP = "What is the access code of the manager of Norbel?"
BOTH = "manager of Norbel: Bernard Hale\naccess code of Bernard Hale: AX-4821"


@pytest.mark.parametrize("more", [(), (CODE,)])
def test_the_first_hop_plans_the_second(more: tuple[Passage, ...]) -> None:
    asked, said, update = replied(CHAIN, HOP, (), *TRAPS, *more, MANAGER)
    words = prompt.read_words(HOP, "", chunk(*TRAPS, *more, MANAGER))
    name = words.hide(" Bernard Hale")
    assert asked.startswith("<q> What is the<w1><w2> of the<w3> of<w4>?<mem> none<plan> none<chunk>")
    assert said == f"<mem> <w3> of<w4>:{name}<plan> find the<w1><w2> of{name}<eos>"
    assert update == Update(
        UpdateKind.REWRITE, "manager of Norbel: Bernard Hale", "find the access code of Bernard Hale", again=True
    )


def test_the_second_hop_is_a_question_of_its_own() -> None:
    asked, said, update = replied(CHAIN, HOP, ("Bernard Hale",), *TRAPS, CODE)
    assert asked.startswith("<q> What is the<w1><w2> of<w3><w4>?<mem> none<plan> none<chunk>")
    assert said.startswith("<mem> <w1><w2> of<w3><w4>:<n")
    assert update == Update(UpdateKind.REWRITE, BOTH, AFTER_FIND)


def test_a_second_hop_tells_nothing_before_the_first() -> None:
    assert replied(CHAIN, HOP, (), *TRAPS, CODE)[1] == "<keep>"
    assert replied(CHAIN, HOP, ("Bernard Hale",), *TRAPS)[1] == "<keep>"


def test_the_first_hop_that_was_found_stays_and_the_second_follows_changes() -> None:
    assert replied(CHAIN, HOP, ("Ann Orr", "12"), MANAGER)[1] == "<keep>"
    assert replied(CHAIN, HOP, ("Bernard Hale", "12"), CODE)[2] == Update(UpdateKind.REWRITE, BOTH, AFTER_FIND)
    assert CHAIN.read(("Ann Orr",), (MANAGER, CODE)) is None
    assert CHAIN.read((), (CODE, MANAGER)) == ("Bernard Hale", "AX-4821")


def test_a_hop_is_answered_when_both_facts_are_known() -> None:
    assert answered(CHAIN, HOP, ("Bernard Hale",))[2] == FinalText(UNKNOWN)
    assert answered(CHAIN, HOP, ("Bernard Hale", "AX-4821"))[2] == FinalText("AX-4821")


def assert_taken(tale: Tale, text: str) -> None:
    """The profile reads every reply of the teacher as it was meant."""
    for number, (asked, known) in enumerate(tale.asked):
        question = asked.question(Random(number))
        made = step(Random(number), asked, known, text, tale.passages)
        call = Call("read/0", CallKind.READ, question, asked.memory(known), asked.plan(known), 0)
        assert PROFILE.render(call, text).text == made.prompt
        update = PROFILE.parse(call, Completion(made.target, "stop"), text, TOKENS)
        after = asked.read(known, tale.passages)
        if after in (None, known):
            assert update == Update(UpdateKind.KEEP)
            continue
        assert after is not None
        assert isinstance(update, Update) and update.kind is UpdateKind.REWRITE
        if update.again:  # what else is stated is found when the chunk is read again
            after = after[: len(known) + 1]
        assert (update.memory, update.plan) == (asked.memory(after), asked.plan(after))
    for number, (asked, known) in enumerate(tale.answered):
        question = asked.question(Random(number))
        made = answer(Random(number), asked, known)
        call = Call("answer", CallKind.ANSWER, question, asked.memory(known), asked.plan(known))
        assert PROFILE.render(call).text == made.prompt
        said = PROFILE.parse(call, Completion(made.target, "stop"), "", TOKENS)
        assert said == FinalText(asked.answer(known) or UNKNOWN)


@given(st.integers(0, 10**6), st.sampled_from((64, 128, 256)))
@settings(max_examples=60, deadline=None)
def test_the_profile_takes_every_reply(seed: int, tokens: int) -> None:
    tale = several.make_tale(Random(seed), tokens, "train", 0.75)
    assert_taken(tale, tale.text)


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_the_profile_takes_every_reply_when_the_tokens_run_out(seed: int) -> None:
    rng = Random(seed)
    tale = several.make_tale(rng, 64, "train", 0.75)
    names = [f"Zo{a}{b}" for a in "bdfghklmnp" for b in "aeiouy"] + ["Zuba", "Zuda", "Zuka", "Zula", "Zuma"]
    assert len(names) > SLOTS["c"]
    numbers = [str(number) for number in rng.sample(range(1000, 9999), SLOTS["n"] + 1)]
    assert_taken(tale, ", ".join([*names, *numbers]) + ". " + tale.text)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_an_exercise_is_one_of_each_kind_and_labels_what_counts(seed: int) -> None:
    rng = Random(seed)
    tale = several.make_tale(rng, 96, "train", 0.75)
    made = exercises(rng, tale, 6)
    assert any(not one.reads for one in made)
    for one in made:
        assert one.reads == one.prompt.endswith("<out>")
        assert not (one.target == "<keep>" and one.marked)


def test_every_statement_holds_its_items_and_whose_they_are() -> None:
    rng = Random(4)
    for _ in range(300):
        listed = rng.choice((("Bernard Hale",), ("Bernard Hale", "Ann Orr"), ("copper kettle",)))
        made = collections.state(rng, HERON, listed)
        assert [fact.value for fact in made.facts] == list(listed)
        assert all(item in made.text for item in listed) and "Heron" in made.text
        assert "passenger" in made.text.casefold()


def test_the_form_of_a_question_tells_its_family() -> None:
    bound = {"A": "tools", "B": "height", "E": "Norbel", "cur": "current"}
    for template in (*LIST_QUESTIONS, *WHO_ARE, *COUNT_QUESTIONS):
        question = template
        for symbol, word in bound.items():
            question = question.replace(f"{{{symbol}}}", word)
        assert asks_for_several(question)
        words = prompt.read_words(question, "", "")
        assert ("how many" in words.hide(question).casefold()) == (template in COUNT_QUESTIONS)
    assert not any(
        asks_for_several(question)
        for question in (*QUESTIONS, *read_lines("questions"), *WHO, *WHEN, *LEADS, *HOP_QUESTIONS, *WHO_OF)
    )


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_no_question_for_one_value_is_taken_for_one_that_asks_for_several(seed: int) -> None:
    rng = Random(seed)
    for key in make_story(rng, 64, 6, "train").keys:
        assert not asks_for_several(single_question(rng, key))


def test_there_are_many_ways_to_state_and_to_ask() -> None:
    assert len(set(LISTING["litem"]) | set(LISTING["litems"])) >= 80
    assert min(len(set(ways)) for ways in (LIST_QUESTIONS, COUNT_QUESTIONS, HOP_QUESTIONS)) >= 40


def test_a_plural_leads_back_to_its_singular() -> None:
    for one, _ in (*sorts("train"), *sorts("heldout")):
        assert plural(one).split()[-1] != one.split()[-1]
        assert one.split()[-1] in singulars(plural(one).split()[-1])
    assert not {one for one, _ in sorts("train")} & {one for one, _ in sorts("heldout")}
