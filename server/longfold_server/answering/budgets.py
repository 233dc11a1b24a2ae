"""When reading has to end so that the answer still fits the job's limits. Knows times and token counts only."""

from __future__ import annotations

from longfold_agent.protocols import Profile, Tokens
from longfold_agent.route import count_prompt
from longfold_agent.types import Call, CallKind, Chunk
from longfold_client.types import TokenUsage
from longfold_server.answering.state import Reading

LEAST_SHARE, MOST_SHARE = 0.1, 0.5
"""Of the seconds, what is kept for the answer: at least a tenth (nothing may be known yet), at most half (a slow call
must not end reading before it began)."""


def cut_at(deadline: float, limit: float, slowest_call: float) -> float:
    """When reading must stop: the answer may take half as long again as the slowest read so far."""
    return deadline - min(MOST_SHARE * limit, max(LEAST_SHARE * limit, 1.5 * slowest_call))


def tokens_left(reading: Reading, call: Call, chunk: Chunk, limit: int, profile: Profile, tokens: Tokens) -> int:
    """Tokens that would be left of `limit` after reading `chunk` and answering; negative when both do not fit.

    A read is expected to reply as long as the longest so far, the first one with a full memory; the answer may take all
    it is allowed.
    """
    budgets = profile.budgets
    answer = Call(
        "answer", CallKind.ANSWER, call.question, call.memory, call.plan, instructions=reading.fold.query.instructions
    )
    reply = reading.longest_reply or min(budgets.read_output, budgets.memory + budgets.plan)
    read = count_prompt(profile.render(call), tokens) + chunk.tokens + reply
    write = count_prompt(profile.render(answer), tokens) + budgets.answer_output
    return limit - spent(reading.usage) - read - write


def spent(usage: TokenUsage) -> int:
    """What counts towards a limit of tokens."""
    return usage.prompt_tokens + usage.completion_tokens
