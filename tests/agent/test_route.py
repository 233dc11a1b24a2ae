"""The route is exact at the border of the window, stops counting early, and never truncates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_agent import (
    DirectTooLarge,
    Mode,
    Profile,
    Prompt,
    Query,
    Unsupported,
    WindowTooSmall,
    check_step_fits,
    load_profile,
    route,
)
from longfold_agent.profiles.tagged import TaggedProfile
from longfold_agent.route import count_prompt

PROFILE = load_profile("general")
QUERY = Query("Who won?", "As JSON.")


class Pieces:
    """Words and signs, and how many characters were ever counted."""

    name = "pieces"

    def __init__(self) -> None:
        self.seen = 0

    def count(self, text: str) -> int:
        self.seen += len(text)
        return len(re.findall(r"\w+|[^\w\s]", text))

    def fit(self, text: str, budget: int) -> int:
        return len(text) if self.count(text) <= budget else budget


class NoDirect(TaggedProfile):
    def render_direct(self, query: Query, documents: Sequence[tuple[str, str]]) -> Prompt:
        raise Unsupported("one pass only over short text")


def without_direct() -> Profile:
    assert isinstance(PROFILE, TaggedProfile)
    return NoDirect("demo-like", PROFILE.wording, PROFILE.budgets, True, False, 0.0, 1.0, 100)


def needed(documents: list[tuple[str, str]], margin: int) -> int:
    prompt = count_prompt(PROFILE.render_direct(QUERY, documents), Pieces())
    return prompt + PROFILE.budgets.answer_output + margin


documents = st.lists(st.tuples(st.text(max_size=10), st.lists(st.text(max_size=200), max_size=4)), max_size=3)


@given(documents, st.integers(-3, 3), st.integers(0, 50))
def test_direct_exactly_when_it_fits(docs: list[tuple[str, list[str]]], slack: int, margin: int) -> None:
    whole = [(title, "".join(pieces)) for title, pieces in docs]
    window = needed(whole, margin) + slack
    decision = route(QUERY, docs, profile=PROFILE, tokens=Pieces(), window=window, margin=margin)
    assert decision.mode is (Mode.DIRECT if slack >= 0 else Mode.FOLD)
    assert decision.window == window
    if slack >= 0:
        assert decision.prompt_tokens == needed(whole, margin) - margin - PROFILE.budgets.answer_output
    else:
        with pytest.raises(DirectTooLarge, match="window"):
            route(QUERY, docs, profile=PROFILE, tokens=Pieces(), window=window, margin=margin, mode="direct")


def test_a_large_input_is_not_read_further_than_needed() -> None:
    given_out = 0

    def endless() -> Iterator[str]:
        nonlocal given_out
        while True:
            given_out += 1
            yield "word " * 1000

    tokens = Pieces()
    decision = route(QUERY, [("Big", endless())], profile=PROFILE, tokens=tokens, window=20_000)
    assert decision.mode is Mode.FOLD and decision.prompt_tokens > 20_000 - PROFILE.budgets.answer_output - 512
    assert given_out < 50 and tokens.seen < 400_000
    assert "at least" in decision.reason and "20,000" in decision.reason


def test_one_huge_piece_is_counted_in_parts() -> None:
    tokens = Pieces()
    decision = route(QUERY, [("Big", ["word " * 2_000_000])], profile=PROFILE, tokens=tokens, window=20_000)
    assert decision.mode is Mode.FOLD and tokens.seen < 400_000


def test_single_characters_do_not_add_up_to_a_wrong_route() -> None:
    text = "word " * 3000
    window = needed([("t", text)], 0)
    decision = route(QUERY, [("t", iter(text))], profile=PROFILE, tokens=Pieces(), window=window, margin=0)
    assert decision.mode is Mode.DIRECT


def test_the_mode_can_be_asked_for() -> None:
    decision = route(QUERY, [("t", ["short"])], profile=PROFILE, tokens=Pieces(), window=100_000, mode="fold")
    assert decision.mode is Mode.FOLD and "asked" in decision.reason
    with pytest.raises(ValueError, match="sideways"):
        route(QUERY, [], profile=PROFILE, tokens=Pieces(), window=100_000, mode="sideways")


def test_a_profile_without_a_single_pass_folds() -> None:
    profile = without_direct()
    decision = route(QUERY, [("t", ["short"])], profile=profile, tokens=Pieces(), window=100_000)
    assert decision.mode is Mode.FOLD and decision.reason == "Reading chunk by chunk: one pass only over short text."
    with pytest.raises(Unsupported):
        route(QUERY, [("t", ["short"])], profile=profile, tokens=Pieces(), window=100_000, mode="direct")


def test_a_step_must_fit_the_window() -> None:
    budgets, tokens = PROFILE.budgets, Pieces()
    terms = check_step_fits(PROFILE, 100_000, tokens, QUERY)
    least = max(terms.values())
    assert least > budgets.chunk + budgets.memory + budgets.plan + budgets.read_output
    assert check_step_fits(PROFILE, least, tokens, QUERY) == terms
    with pytest.raises(WindowTooSmall) as caught:
        check_step_fits(PROFILE, least - 1, tokens, QUERY)
    for term in (budgets.chunk, budgets.memory, budgets.plan, budgets.read_output, least, least - 1):
        assert f"{term:,}" in str(caught.value)


def test_a_long_question_counts() -> None:
    terms = check_step_fits(PROFILE, 100_000, Pieces())
    longer = check_step_fits(PROFILE, 100_000, Pieces(), Query("word " * 500))
    assert longer["read"] >= terms["read"] + 500
