"""Two small drivers of a fold: one reading as a stream, many as ragged batches. Both ask, parse and advance in the same
way, so the turns are the same. They know no store and no retries of the engine: its errors propagate, and the last fold
can be continued.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from longfold_agent.errors import InvalidReply
from longfold_agent.fold import Fold
from longfold_agent.protocols import Engine, Profile, Request, Tokens
from longfold_agent.types import (
    Call,
    CallKind,
    Chunk,
    Completion,
    EndOfText,
    FinalText,
    Prompt,
    Reply,
    Step,
    Stop,
    Update,
    UpdateKind,
)


async def stream(
    fold: Fold,
    chunks: AsyncIterable[Chunk] | Iterable[Chunk],
    profile: Profile,
    engine: Engine,
    tokens: Tokens,
    *,
    affinity: str = "",
) -> AsyncIterator[tuple[Fold, Step, Completion]]:
    """Drive `fold` to its answer; yields the fold after each reply, what the reply changed, and the reply.

    chunks: in order, beginning with chunk `fold.next_chunk` or earlier. They are taken one by one as they are needed.
    The end of the text is no reply and is not yielded.

    Raises `EngineError` from the engine, `InvalidReply` when the answer's every attempt was unusable, ValueError when a
    chunk is missing.
    """
    source = _Source(chunks)
    while not fold.done:
        [call] = fold.pending()
        chunk = await source.at(call.chunk)
        if call.kind is CallKind.READ and chunk is None:
            fold, _ = fold.advance(call.id, EndOfText())
            continue
        text = "" if chunk is None else chunk.text
        request = Request(profile.render(call, text), profile.sampling(call), affinity)
        [completion] = await engine.complete([request])
        fold, step = fold.advance(call.id, read_reply(profile, call, completion, text, tokens))  # Eq. 5; last, Eq. 6
        if step is not None:
            yield fold, step, completion


@dataclass(frozen=True, slots=True)
class Turn:
    """One call of a rollout, whole: what was asked, what came back, what it changed."""

    call: Call
    prompt: Prompt
    completion: Completion
    step: Step | None
    """None for an answer that could not be used: it changed nothing."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One trajectory: its turns in order (the answer last) and the fold they led to."""

    fold: Fold
    turns: tuple[Turn, ...] = ()
    failure: str = ""
    """Why the rollout ended without an answer; "" when it has one. A bad rollout is data, not an error."""


async def batch(
    folds: Sequence[Fold],
    chunks: Sequence[Sequence[Chunk]],
    profile: Profile | Sequence[Profile],
    engine: Engine,
    tokens: Tokens,
    *,
    want_ids: bool = False,
    cut: Callable[[Rollout], Stop | None] = lambda rollout: None,
) -> list[Rollout]:
    """Drive all `folds` to their answers, every open call of a round in one `engine.complete`. Rounds grow smaller as
    folds end.

    chunks: the chunks of each fold's text, `chunks[i][n].index == n`. profile: one for all folds, or one for each
    (they may then sample differently). want_ids: ask for ids and logprobs. cut: asked before every call whether the
    reading ends now, and why; the answer then comes from what has been read.
    Raises `EngineError` from the engine, ValueError when `chunks` or the profiles do not match `folds`.
    """
    if len(folds) != len(chunks) or any(chunk.index != at for text in chunks for at, chunk in enumerate(text)):
        raise ValueError("batch needs the whole text of every fold, its chunks numbered from 0")
    profiles = profile if isinstance(profile, Sequence) else [profile] * len(folds)
    if len(profiles) != len(folds):
        raise ValueError(f"{len(profiles)} profiles for {len(folds)} folds")
    rollouts = [Rollout(fold) for fold in folds]
    while True:
        asked: list[tuple[int, Call, str]] = []
        for i, rollout in enumerate(rollouts):
            fold = _past_end(rollout.fold, len(chunks[i]))
            if (why := cut(rollout)) is not None:
                fold = fold.cut(why)
            rollouts[i] = replace(rollout, fold=fold)
            for call in () if rollout.failure else fold.pending():
                asked.append((i, call, "" if call.chunk is None else chunks[i][call.chunk].text))
        if not asked:
            return rollouts
        prompts = [profiles[i].render(call, text) for i, call, text in asked]
        requests = [
            Request(prompt, profiles[i].sampling(call), want_ids=want_ids)
            for prompt, (i, call, _) in zip(prompts, asked, strict=True)
        ]
        completions = await engine.complete(requests)
        for (i, call, text), prompt, completion in zip(asked, prompts, completions, strict=True):
            rollout, step, failure = rollouts[i], None, ""
            fold = rollout.fold
            try:
                fold, step = fold.advance(call.id, read_reply(profiles[i], call, completion, text, tokens))
            except InvalidReply as error:
                failure = str(error)
            rollouts[i] = Rollout(fold, (*rollout.turns, Turn(call, prompt, completion, step)), failure)


def read_reply(profile: Profile, call: Call, completion: Completion, text: str, tokens: Tokens) -> Reply:
    """The parsed reply in the form `Fold.advance` takes: an unusable answer becomes an INVALID update, so that it is
    asked again, and one that the output limit ended says so."""
    try:
        reply = profile.parse(call, completion, text, tokens)
    except InvalidReply as error:
        return Update(UpdateKind.INVALID, reason=str(error))
    return replace(reply, cut=completion.finish_reason == "length") if isinstance(reply, FinalText) else reply


def _past_end(fold: Fold, chunks: int) -> Fold:
    """The fold with its end of text taken, when it has read all of its `chunks`."""
    for call in fold.pending():
        if call.chunk is not None and call.chunk >= chunks:
            fold, _ = fold.advance(call.id, EndOfText())
    return fold


class _Source:
    """The chunks by index, read forward only; the latest is kept, since a retry reads it again."""

    def __init__(self, chunks: AsyncIterable[Chunk] | Iterable[Chunk]) -> None:
        self._chunks = aiter(chunks) if isinstance(chunks, AsyncIterable) else _async(chunks)
        self._latest: Chunk | None = None

    async def at(self, index: int | None) -> Chunk | None:
        """Chunk `index`, or None when the text ends before it or no chunk is asked for."""
        if index is None:
            return None
        while self._latest is None or self._latest.index < index:
            self._latest = await anext(self._chunks, None)
            if self._latest is None:
                return None
        if self._latest.index != index:
            raise ValueError(f"chunk {index} is missing: the source continues with chunk {self._latest.index}")
        return self._latest


async def _async(chunks: Iterable[Chunk]) -> AsyncIterator[Chunk]:
    for chunk in chunks:
        yield chunk
