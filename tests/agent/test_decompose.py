"""Decomposition through a profile's call or rule, and what its failures cost."""

from __future__ import annotations

import pytest

from longfold_agent import (
    Completion,
    ContextOverflow,
    EngineRejected,
    EngineUnavailable,
    Query,
    ScriptedEngine,
    Usage,
    decompose,
    load_profile,
)
from longfold_agent.profiles.tagged import TaggedProfile

PROFILE = load_profile("general")
QUESTION = "Who won? Answer as JSON."


async def test_a_call_splits_the_question() -> None:
    reply = Completion("<core>Who won?</core><instructions>Answer as JSON.</instructions>", "stop", usage=Usage(7, 5))
    found = await decompose(QUESTION, PROFILE, ScriptedEngine([reply]))
    assert found.query == Query("Who won?", "Answer as JSON.") and found.reason == ""


@pytest.mark.parametrize("reply", ["", "Ann", "<core>Who won in 2004?</core><instructions>JSON</instructions>"])
async def test_an_unusable_reply_leaves_the_question(reply: str) -> None:
    found = await decompose(QUESTION, PROFILE, ScriptedEngine(reply))
    assert found.query == Query(QUESTION) and "decomposition" in found.reason


async def test_a_rule_needs_no_call() -> None:
    class Rule(TaggedProfile):
        def decompose(self, question: str) -> Query:
            return Query(question.split("?")[0] + "?", "rest")

    assert isinstance(PROFILE, TaggedProfile)
    rule = Rule(PROFILE.name, PROFILE.wording, PROFILE.budgets, True, False, 0.0, 1.0, 100)
    engine = ScriptedEngine("never asked")
    assert (await decompose(QUESTION, rule, engine)).query == Query("Who won?", "rest")
    assert engine.calls == 0


class Refusing(ScriptedEngine):
    """Raises the error bare, as engines do."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    async def complete(self, requests: object) -> list[Completion]:
        raise self.error


@pytest.mark.parametrize("error", [ContextOverflow("too long"), EngineRejected("bad parameter")])
async def test_a_refusal_costs_the_split_only(error: Exception) -> None:
    found = await decompose(QUESTION, PROFILE, Refusing(error))
    assert found.query == Query(QUESTION) and type(error).__name__ in found.reason


async def test_an_engine_that_is_away_is_no_property_of_the_question() -> None:
    with pytest.raises(EngineUnavailable):
        await decompose(QUESTION, PROFILE, Refusing(EngineUnavailable("refused")))
