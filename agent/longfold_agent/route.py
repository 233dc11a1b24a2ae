"""Routing: whether everything fits the served window in a single pass (DIRECT), or has to be read chunk by chunk
(FOLD).

An exact count with room for the output; nothing is ever truncated to fit. Knows no engine; blocks for the time it
counts, at most about one window of text, so an async caller runs it in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from longfold_agent.errors import DirectTooLarge, Unsupported, WindowTooSmall
from longfold_agent.protocols import Profile, Tokens
from longfold_agent.types import Call, CallKind, Prompt, Query

MARGIN = 256
"""Tokens kept free for the chat template, which only the engine's side knows: role marks, a default system message,
dates."""
_BLOCK = 1 << 16
"""Characters counted at once: large enough that borders do not matter, small enough to stop soon."""
_BORDER = 32
"""Most tokens by which counting two blocks apart may exceed counting them together: what one border can split."""


class Mode(StrEnum):
    AUTO = "auto"
    DIRECT = "direct"
    FOLD = "fold"


@dataclass(frozen=True, slots=True)
class RouteDecision:
    mode: Mode
    """DIRECT or FOLD."""
    reason: str
    """One sentence for people, with the numbers."""
    prompt_tokens: int
    """Tokens of the single pass's prompt. Exact for DIRECT; for FOLD what had been counted when it was clear, 0 for
    none."""
    window: int
    """The served context window, in tokens."""


def route(
    query: Query,
    documents: Iterable[tuple[str, Iterable[str]]],
    *,
    profile: Profile,
    tokens: Tokens,
    window: int,
    mode: Mode | str = Mode.AUTO,
    margin: int = MARGIN,
) -> RouteDecision:
    """DIRECT if and only if prompt (template, all documents, question, instructions) + margin + answer reserve <=
    window, and the documents are within the profile's own budget for a single pass, where it has one.

    documents: (title, pieces of text in order) each; pieces may be read lazily, and are not read further than needed:
    as soon as the window is passed the rest stays untouched. window, margin: in tokens.

    Raises `DirectTooLarge` when DIRECT is asked for and does not fit, `Unsupported` when it is asked for and the
    profile has no single pass, ValueError for an unknown mode.
    """
    mode = Mode(mode)
    if mode is Mode.FOLD:
        return RouteDecision(Mode.FOLD, "Reading chunk by chunk, as asked for.", 0, window)
    reserve = profile.budgets.answer_output
    room, own = window - reserve - margin, profile.budgets.direct
    try:
        frame = count_prompt(profile.render_direct(query, ()), tokens)
    except Unsupported as error:
        if mode is Mode.DIRECT:
            raise
        reason = f"Reading chunk by chunk: {error}."
        return RouteDecision(Mode.FOLD, reason, 0, window)
    whole, counted = _gather(documents, tokens, room - frame if own is None else min(room - frame, own))
    prompt = frame + counted
    within = own is None or counted <= own
    if whole is not None and within:
        prompt = count_prompt(profile.render_direct(query, whole), tokens)
        if prompt <= room:
            fits = f"{prompt:,} prompt tokens and {reserve:,} for the answer fit the window of {window:,}"
            return RouteDecision(Mode.DIRECT, f"Single pass: {fits}.", prompt, window)
    least = "" if whole is not None else "at least "
    needed = f"{least}{prompt:,} prompt tokens, {reserve:,} for the answer and a margin of {margin:,}"
    numbers = f"{needed} exceed the window of {window:,}"
    if not within:
        numbers = f"{least}{counted:,} tokens of documents exceed the {own:,} that this model takes at once"
    if mode is Mode.DIRECT:
        raise DirectTooLarge(f"The documents do not fit a single pass: {numbers}.")
    return RouteDecision(Mode.FOLD, f"Reading chunk by chunk: {numbers}.", prompt, window)


def check_step_fits(
    profile: Profile, window: int, tokens: Tokens, query: Query | None = None, *, margin: int = MARGIN
) -> dict[str, int]:
    """The terms of the largest read call and the largest answer call, in tokens, when both fit `window`.

    Raises `WindowTooSmall` with every term of the sum otherwise. Without a query its length counts as 0.
    """
    query = query or Query("")
    blank = Call("read/0", CallKind.READ, query.core, "", "", 0)
    final = replace(blank, id="answer", kind=CallKind.ANSWER, chunk=None, instructions=query.instructions)
    budgets = profile.budgets
    shared = {"memory": budgets.memory, "plan": budgets.plan, "margin": margin}
    read = {
        "template and question": count_prompt(profile.render(blank), tokens),
        "chunk": budgets.chunk,
        "output": budgets.read_output,
    }
    answer = {
        "template, question and instructions": count_prompt(profile.render(final), tokens),
        "output": budgets.answer_output,
    }
    for name, terms in (("A read", read | shared), ("An answer", answer | shared)):
        if (total := sum(terms.values())) > window:
            listed = " + ".join(f"{term} {value:,}" for term, value in terms.items())
            raise WindowTooSmall(
                f"{name} call of the {profile.name} profile needs {listed} = {total:,} tokens; the window has "
                f"{window:,}."
            )
    return {"read": sum((read | shared).values()), "answer": sum((answer | shared).values())}


def count_prompt(prompt: Prompt, tokens: Tokens) -> int:
    """Tokens of a prompt's text or of its messages' contents; the chat template around them is the caller's margin."""
    return (
        tokens.count(prompt.text)
        if prompt.text is not None
        else sum(tokens.count(message.content) for message in prompt.messages)
    )


def _gather(
    documents: Iterable[tuple[str, Iterable[str]]], tokens: Tokens, room: int
) -> tuple[list[tuple[str, str]] | None, int]:
    """All documents and their count, or None and the count so far once they surely exceed `room`."""
    whole: list[tuple[str, str]] = []
    counted = borders = 0
    for title, pieces in documents:
        blocks: list[str] = []
        counted += tokens.count(title)
        borders += 1
        for block in _blocks(pieces):
            if counted - borders * _BORDER > room:
                return None, counted
            blocks.append(block)
            counted += tokens.count(block)
            borders += 1
        whole.append((title, "".join(blocks)))
    return (None, counted) if counted - borders * _BORDER > room else (whole, counted)


def _blocks(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in blocks of `_BLOCK` characters: pieces of one character or of 40 MB cost the same to count."""
    held: list[str] = []
    size = 0
    for piece in pieces:
        for start in range(0, len(piece), _BLOCK):
            part = piece[start : start + _BLOCK]
            held.append(part)
            size += len(part)
            if size >= _BLOCK:
                yield "".join(held)
                held, size = [], 0
    if held:
        yield "".join(held)
