"""Decomposition of a user's question into q_core and q_inst (paper 2.3): by the profile's rule, or by one call.

Knows neither wording nor format. A question that cannot be split is still a question, so a failure costs the split, not
the job.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from longfold_agent.errors import EngineError, InvalidReply
from longfold_agent.protocols import Engine, Profile, Request
from longfold_agent.types import Query, Usage


@dataclass(frozen=True, slots=True)
class Decomposition:
    query: Query
    reason: str = ""
    """Why the question was taken as it is although the profile asked for a split; "" otherwise."""
    usage: Usage = field(default_factory=Usage)


async def decompose(question: str, profile: Profile, engine: Engine) -> Decomposition:
    """The question's parts. A reply that cannot be used, or an engine that refuses the call, gives `Query(question)`
    and the reason.

    Raises an `EngineError` whose `retryable` is true: the engine is away, which is not a property of this question.
    """
    match profile.decompose(question):
        case Query() as query:
            return Decomposition(query)
        case (prompt, sampling):
            pass
    try:
        [completion] = await engine.complete([Request(prompt, sampling)])
    except EngineError as error:
        if error.retryable:
            raise
        return Decomposition(Query(question), f"the engine refused the decomposition: {type(error).__name__}")
    try:
        return Decomposition(profile.parse_decomposition(question, completion), usage=completion.usage)
    except InvalidReply as error:
        return Decomposition(Query(question), str(error), completion.usage)
