"""Rules: what is right, what is wrong, and what they leave to a judge (None)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from longfold_training.rewards import Choice, Cover, Exact, Items, Number, Ratio, Rule

QUESTION = "Which city, Paris or London, is the capital of France?"
OPTIONS = ("Ann", "Bob", "Carol", "a dog")


@pytest.mark.parametrize(
    ("rule", "answer", "score"),
    [
        (Exact(answers=("AX-4821",)), "ax-4821.", 1.0),
        (Exact(answers=("AX-4821",)), '"AX-4821"', 1.0),
        (Exact(answers=("AX-4821",)), "AX-4821 or so", 0.0),
        (Exact(answers=("12", "twelve")), "Twelve", 1.0),
        (Exact(answers=("12",)), "<think>12?</think>12", 1.0),
        (Cover(answers=("Paris",)), "Paris", 1.0),
        (Cover(answers=("Paris",)), "The capital is Paris, of course.", 1.0),
        (Cover(answers=("Paris",)), f"{QUESTION} Paris!", 1.0),
        (Cover(answers=("Paris",)), QUESTION, 0.0),
        (Cover(answers=("Paris",)), "Par", None),
        (Cover(answers=("New Paris",)), "Paris", None),
        (Cover(answers=("Paris",)), "Comparison", None),
        (Cover(answers=("Paris",)), "It is not Paris", None),
        (Cover(answers=("Paris",)), "Any other than Paris", None),
        (Cover(answers=("Paris",)), "Paris or Rome", None),
        (Cover(answers=("Paris",)), "Rome or Paris", None),
        (Cover(answers=("Paris",)), "Paris " + "and more words " * 11, None),
        (Cover(answers=("Paris",)), "word " * 32 + "Paris", 1.0),
        (Cover(answers=("not guilty",)), "The verdict: not guilty.", 1.0),
        (Cover(answers=("guilty",)), "The verdict: not guilty.", None),
        (Cover(answers=("Paris",), wrong=("London",)), "Paris and London", 0.0),
        (Cover(answers=("Paris",), wrong=("London",)), "London", 0.0),
        (Cover(answers=("Blue Lantern",), wrong=("Blue",)), "Blue Lantern", 1.0),
        (Cover(answers=("Blue Lantern",), wrong=("Blue Lantern Station",)), "Blue Lantern Station", 0.0),
        (Cover(answers=("yes",)), "Yes, since nobody said no.", 1.0),
        (Cover(answers=("yes",)), "No, yes was never said.", 0.0),
        (Cover(answers=("3.5",)), "35", None),
        (Cover(answers=("Paris", "City of Light")), "The City of Light", 1.0),
        (Choice(letter="B", options=OPTIONS), "B", 1.0),
        (Choice(letter="B", options=OPTIONS), "b.", 1.0),
        (Choice(letter="B", options=OPTIONS), "**(B)**", 1.0),
        (Choice(letter="B", options=OPTIONS), "B) Bob", 1.0),
        (Choice(letter="B", options=OPTIONS), "Option B", 1.0),
        (Choice(letter="B", options=OPTIONS), "bob", 1.0),
        (Choice(letter="D", options=OPTIONS), "the dog", 1.0),
        (Choice(letter="B", options=OPTIONS), "The correct answer is (B).", 1.0),
        (Choice(letter="B", options=OPTIONS), "The correct answer is Bob, I think. The answer: B", 0.0),
        (Choice(letter="B", options=OPTIONS), "Since A) is out, the answer is B because of Carol.", 1.0),
        (Choice(letter="B", options=OPTIONS), r"So \boxed{B}", 1.0),
        (Choice(letter="B", options=OPTIONS), "B) Ann", 0.0),
        (Choice(letter="B", options=OPTIONS), "A", 0.0),
        (Choice(letter="B", options=OPTIONS), "F", 0.0),
        (Choice(letter="B", options=OPTIONS), "The answer is A or B", 0.0),
        (Choice(letter="B", options=OPTIONS), "The answer is A. The answer is B.", 0.0),
        (Choice(letter="A", options=("B", "A")), "A", 1.0),
        (Number(value="1,204"), "1204", 1.0),
        (Number(value="1204"), "It comes to 1,204 boxes.", 1.0),
        (Number(value="1204"), "1205", 0.0),
        (Number(value="12.5%"), "12.5 percent", 1.0),
        (Number(value="12.5%"), "0.125", 1.0),
        (Number(value="0.125"), "12.5 %", 1.0),
        (Number(value="12.5%"), "12.5", 1.0),
        (Number(value="12.5%"), "1.25", 0.0),
        (Number(value="12.5"), "1250%", 1.0),
        (Number(value="3.1 million"), "$3,100,000", 1.0),
        (Number(value="3100000"), "3.1M", 1.0),
        (Number(value="-4"), "\u22124 degrees", 1.0),
        (Number(value="-4"), "4", 0.0),
        (Number(value="0"), "0.0", 1.0),
        (Number(value="0"), "0.0000001", 0.0),
        (Number(value="100", tolerance=0.01), "101", 1.0),
        (Number(value="100", tolerance=0.01), "101.1", 0.0),
        (Number(value="100", tolerance=0.01), "99", 1.0),
        (Number(value="7"), "5 of the 7", 0.0),
        (Number(value="7"), "It grew from 5. The answer is 7.", 1.0),
        (Number(value="7"), "The answer is 7 or 8.", 0.0),
        (Number(value="7"), "7 and 7.0", 1.0),
        (Number(value="7"), "7-8", 0.0),
        (Number(value="4821"), "code AX-4821", None),
        (Number(value="5"), "five", None),
        (Number(value="5"), "1e999 or 5", 0.0),
        (Items(items=("Ann", "Bob")), "Bob, Ann", 1.0),
        (Items(items=("Ann", "Bob")), '["Ann", "Bob"]', 1.0),
        (Items(items=("Ann", "Bob")), "1. Ann\n2. Bob\n", 1.0),
        (Items(items=("Ann", "Bob")), "There are two of them: Ann and Bob.", 1.0),
        (Items(items=("Ann", "Bob")), "Ann", None),
        (Items(items=("Ann", "Bob")), "Ann, Bob, Carol", None),
        (Items(items=("Ann", "Bob")), "Ann, Bob, Ann", None),
        (Items(items=("Anna", "Bob")), "Anna Maria, Bob", None),
        (Items(items=("Rock and Roll", "Rock")), "Rock; Rock and Roll", 1.0),
        (Items(items=("3", "5")), "3, 5", 1.0),
        (Items(items=("Ann", "Bob"), ordered=True), "Ann, then Bob", None),
        (Items(items=("Ann", "Bob"), ordered=True), "Ann, Bob", 1.0),
        (Items(items=("Ann", "Bob"), ordered=True), "Bob, Ann", None),
        (Items(items=()), "None.", 1.0),
        (Items(items=()), "[]", 1.0),
        (Items(items=()), "Ann", None),
        (Items(items=()), "", 0.0),
        (Ratio(text="abcd", prefix="x9"), "x9abcd", 1.0),
        (Ratio(text="abcd", prefix="x9"), "x9ab", 2 / 3),
        (Ratio(text="abcd", prefix="x9"), "abcd", 0.0),
        (Ratio(text="abcd", prefix="x9"), "x9" + "abcd" * 12, 0.0),
    ],
)  # fmt: skip
def test_score(rule: Rule, answer: str, score: float | None) -> None:
    found = rule.score(QUESTION, answer)
    assert found == (score if score is None else pytest.approx(score))


def test_a_repeated_question_chooses_nothing() -> None:
    question = "who did it for Norbel A. Ann B. Bob C. Carol D. Dog"
    for letter in "ABCD":
        rule = Choice(letter=letter, options=OPTIONS)
        assert [rule.score(question, answer) for answer in (question, f"The answer is: {question}", letter)] == [
            0,
            0,
            1,
        ]


def test_numbers_of_the_question_may_be_repeated() -> None:
    question = "Of the 12 boxes of 2019, how many were red?"
    assert Number(value="7").score(question, "In 2019, 7 of 12") == 1.0
    assert Number(value="12").score(question, "12 of 12") == 1.0
    assert Number(value="12").score(question, "12 or 2019") == 0.0
    assert Number(value="12").score(question, question) == 0.0
    assert Number(value="12").score(question, f"{question} All of them") is None


@pytest.mark.parametrize(
    ("rule", "memory", "share"),
    [
        (Exact(answers=("AX-4821",)), "access code of Blue Lantern: AX-4821", 1.0),
        (Exact(answers=("AX-4821",)), "access code of Blue Lantern: AX-4822", 0.0),
        (Cover(answers=("Paris", "City of Light")), "it is the City of Light", 1.0),
        (Choice(letter="A", options=OPTIONS), "Ann did it", 1.0),
        (Choice(letter="A", options=OPTIONS), "A", 0.0),
        (Number(value="12%"), "rose by 3, or 12 percent", 1.0),
        (Number(value="12%"), "", 0.0),
        (Items(items=("Ann", "Bob", "Cid", "Dora")), "Ann; Dora", 0.5),
        (Items(items=()), "", 1.0),
        (Ratio(text="a poem", prefix="x9"), "here a poem stands", 1.0),
    ],
)
def test_recall_of_a_memory(rule: Rule, memory: str, share: float) -> None:
    assert rule.recall(memory) == share


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Cover(answers=("the",)), "no word"),
        (lambda: Cover(answers=("Paris",), wrong=("...",)), "no word"),
        (lambda: Cover(answers=("Paris",), wrong=("the Paris",)), "both right and wrong"),
        (lambda: Exact(answers=()), "at least 1"),
        (lambda: Choice(letter="C", options=("x", "y")), "2 options"),
        (lambda: Choice(letter="A", options=("x", "X.")), "the same"),
        (lambda: Choice(letter="A", options=("x",)), "at least 2"),
        (lambda: Number(value="seven"), "not one number"),
        (lambda: Number(value="7 or 8"), "not one number"),
        (lambda: Number(value="7", tolerance=-0.1), "greater than or equal"),
        (lambda: Items(items=("Ann", "ann")), "the same"),
        (lambda: Ratio(text="x", prefix=""), "at least 1"),
    ],
)
def test_a_gold_that_cannot_be_recognised_is_refused(make: object, told: str) -> None:
    assert callable(make)
    with pytest.raises(ValidationError, match=told):
        make()


PARTS = [
    "A",
    "B)",
    "(C)",
    "Ann",
    "Bob",
    "Carol",
    "a dog",
    "The answer is",
    "or",
    ",",
    ".",
    "\n",
    "12",
    "13",
    "12%",
    "is",
    "",
]


@given(st.lists(st.sampled_from(PARTS), max_size=8).map(" ".join))
def test_no_answer_is_right_for_two_questions(answer: str) -> None:
    choices = [Choice(letter=letter, options=OPTIONS).score("Who?", answer) for letter in "ABCD"]
    assert sum(choices) <= 1
    numbers = [Number(value=value).score("How many?", answer) or 0.0 for value in ("12", "13", "1.5")]
    assert sum(numbers) <= 1
    lists = [Items(items=items).score("Who?", answer) or 0.0 for items in (("Ann", "Bob"), ("Ann",), ("Bob", "12"), ())]
    assert sum(lists) <= 1
    covers = [
        Cover(answers=(one,), wrong=(other,)).score("Who?", answer) or 0.0
        for one, other in (("Ann", "Bob"), ("Bob", "Ann"))
    ]
    assert sum(covers) <= 1
