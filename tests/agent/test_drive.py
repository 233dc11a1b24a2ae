"""Both drivers over a scripted engine: the same fold has the same turns in either."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_agent import (
    Chunk,
    Completion,
    EngineUnavailable,
    Fold,
    InvalidReply,
    Position,
    Prompt,
    Query,
    Request,
    ScriptedEngine,
    Step,
    Stop,
    UpdateKind,
    batch,
    load_profile,
    stream,
)


class Words:
    name = "words"

    def count(self, text: str) -> int:
        return len(text.split())

    def fit(self, text: str, budget: int) -> int:
        return len(text) if self.count(text) <= budget else budget


PROFILE, TOKENS = load_profile("general"), Words()


def chunks(texts: Sequence[str]) -> list[Chunk]:
    made, at = [], 0
    for index, text in enumerate(texts):
        start, end = Position(0, at, at), Position(0, at + len(text), at + len(text))
        made.append(Chunk(index, start, end, text, TOKENS.count(text)))
        at += len(text)
    return made


def begin(question: str = "q", retries: int = 1) -> Fold:
    return Fold.start(
        Query(question, "in one word"), profile=PROFILE.version, tokens=TOKENS.name, chunk_budget=100, retries=retries
    )


def greedy(request: Request) -> str | Completion:
    """A model that is a function of its prompt and sampling: rewrites, keeps and fails in turn."""
    text = said(request.prompt)
    draw = hashlib.sha256(f"{text}{request.sampling}".encode()).hexdigest()
    if text.endswith("Your answer:"):
        return "" if draw[0] in "0" else f"answer {draw[:6]}"
    rewrite = f"<memory>fact {draw[:8]}</memory><plan>next {draw[8:12]}</plan>"
    kinds: list[str | Completion] = [rewrite, "KEEP", "no tags at all", Completion("<memory>cut", "length")]
    return kinds[int(draw[-1], 16) % len(kinds)]


def said(prompt: Prompt) -> str:
    return "".join(message.content for message in prompt.messages)


async def streamed(fold: Fold, texts: Sequence[str]) -> tuple[Fold, list[tuple[str, str]], str]:
    engine, replies, failure = ScriptedEngine(greedy), [], ""
    try:
        async for after, _, completion in stream(fold, chunks(texts), PROFILE, engine, TOKENS):
            fold = after
            replies.append(completion.text)
    except InvalidReply as error:
        failure = str(error)
    return fold, list(zip((said(request.prompt) for request in engine.requests), replies, strict=False)), failure


@given(
    st.lists(
        st.tuples(st.sampled_from(["q", "r", "why?"]), st.lists(st.text(min_size=1, max_size=10), max_size=5)),
        max_size=4,
    )
)
async def test_a_stream_and_a_ragged_batch_give_identical_turns(jobs: list[tuple[str, list[str]]]) -> None:
    folds = [begin(question) for question, _ in jobs]
    rollouts = await batch(folds, [chunks(texts) for _, texts in jobs], PROFILE, ScriptedEngine(greedy), TOKENS)
    for fold, (_, texts), rollout in zip(folds, jobs, rollouts, strict=True):
        last, turns, failure = await streamed(fold, texts)
        assert rollout.failure == failure and (failure != "" or rollout.fold == last)
        assert [(said(turn.prompt), turn.completion.text) for turn in rollout.turns if turn.step] == turns
        assert rollout.fold.done == (rollout.failure == "")


async def test_the_batch_grows_smaller_as_folds_end() -> None:
    sizes: list[int] = []

    class Counting(ScriptedEngine):
        async def complete(self, requests: Sequence[Request]) -> list[Completion]:
            sizes.append(len(requests))
            return await super().complete(requests)

    folds = [begin(), begin("r"), begin("s")]
    texts = [chunks(["a", "b", "c"]), chunks(["a"]), chunks([])]
    rollouts = await batch(folds, texts, PROFILE, Counting("KEEP"), TOKENS, want_ids=True)
    assert sizes == [3, 2, 1, 1]
    assert [[turn.call.id for turn in rollout.turns] for rollout in rollouts] == [
        ["read/0", "read/1", "read/2", "answer"],
        ["read/0", "answer"],
        ["answer"],
    ]


async def test_a_batch_may_cut_each_reading_and_sample_each_fold_differently() -> None:
    warm = replace(PROFILE, temperature=0.7)
    engine = ScriptedEngine("KEEP")
    folds, texts = [begin(), begin("r")], [chunks(["a", "b", "c"])] * 2
    rollouts = await batch(
        folds, texts, [PROFILE, warm], engine, TOKENS,
        cut=lambda rollout: Stop.TOKENS if rollout.fold.query.core == "r" and rollout.turns else None,
    )  # fmt: skip
    assert [[turn.call.id for turn in rollout.turns] for rollout in rollouts] == [
        ["read/0", "read/1", "read/2", "answer"],
        ["read/0", "answer"],
    ]
    assert [rollout.fold.stop for rollout in rollouts] == [None, Stop.TOKENS]
    temperatures = [request.sampling.temperature for request in engine.requests]
    assert temperatures == [0.0, 0.7, 0.0, 0.7, 0.0, 0.0]
    with pytest.raises(ValueError, match="1 profiles for 2 folds"):
        await batch(folds, texts, [PROFILE], engine, TOKENS)


async def test_a_stream_yields_what_each_reply_changed() -> None:
    engine = ScriptedEngine(
        ["<memory>a</memory><plan>p</plan>", "KEEP", "nonsense", "<memory>a\nb</memory><plan>r</plan>", "done"]
    )
    texts = chunks(["one", "two", "three"])
    seen = [turn async for turn in stream(begin(), texts, PROFILE, engine, TOKENS, affinity="doc")]
    steps: list[Step] = [step for _, step, _ in seen]
    fold = seen[-1][0]
    assert [(step.id, step.update) for step in steps] == [
        ("read/0", UpdateKind.REWRITE),
        ("read/1", UpdateKind.KEEP),
        ("read/2", UpdateKind.INVALID),
        ("read/2/a1", UpdateKind.REWRITE),
        ("answer", None),
    ]
    assert fold.answer is not None and fold.answer.text == "done"
    assert {request.affinity for request in engine.requests} == {"doc"}
    prompts = [said(request.prompt) for request in engine.requests]
    assert (
        "three" in prompts[2]
        and prompts[2] == prompts[3]
        and engine.requests[2].sampling != engine.requests[3].sampling
    )
    assert not any("in one word" in prompt for prompt in prompts[:-1]) and "in one word" in prompts[-1]


async def test_a_stream_goes_on_where_a_death_left_it() -> None:
    texts = ["one", "two", "three", "four"]
    want, turns, _ = await streamed(begin("deterministic"), texts)
    for death in range(1, len(turns) + 1):
        fold = begin("deterministic")
        engine = ScriptedEngine(greedy, failures={death: EngineUnavailable("gone")})
        with pytest.raises(BaseException) as caught:
            async for after, _, _ in stream(fold, chunks(texts), PROFILE, engine, TOKENS):
                fold = after
        assert (
            caught.group_contains(EngineUnavailable)
            if isinstance(caught.value, BaseExceptionGroup)
            else isinstance(caught.value, EngineUnavailable)
        )
        saved = Fold.from_json(fold.to_json(), profile=PROFILE.version, tokens="words", chunk_budget=100)
        again, _, _ = await streamed(saved, texts)
        assert again == want


async def test_chunks_are_taken_lazily_and_may_be_async() -> None:
    taken: list[int] = []

    async def source() -> AsyncIterator[Chunk]:
        for chunk in chunks(["one", "two", "three"]):
            taken.append(chunk.index)
            yield chunk

    turns = stream(begin(), source(), PROFILE, ScriptedEngine("KEEP"), TOKENS)
    progress = [(len(taken), fold.done) async for fold, _, _ in turns]
    assert progress == [(1, False), (2, False), (3, False), (3, True)]


async def test_a_cut_fold_is_answered_without_reading() -> None:
    engine = ScriptedEngine("Ann")
    cut = begin().cut(Stop.DEADLINE)
    [(fold, _, _)] = [turn async for turn in stream(cut, chunks(["one"]), PROFILE, engine, TOKENS)]
    assert engine.calls == 1 and fold.answer is not None and fold.answer.partial


async def test_a_missing_chunk_is_noticed() -> None:
    with pytest.raises(ValueError, match="chunk 0 is missing"):
        async for _ in stream(begin(), chunks(["one", "two"])[1:], PROFILE, ScriptedEngine("KEEP"), TOKENS):
            pass
    with pytest.raises(ValueError, match="whole text"):
        await batch([begin()], [chunks(["one", "two"])[1:]], PROFILE, ScriptedEngine("KEEP"), TOKENS)
    with pytest.raises(ValueError, match="whole text"):
        await batch([begin()], [], PROFILE, ScriptedEngine("KEEP"), TOKENS)


async def test_a_rollout_without_an_answer_is_data() -> None:
    engine = ScriptedEngine(lambda request: "" if said(request.prompt).endswith("Your answer:") else "KEEP")
    [rollout] = await batch([begin(retries=1)], [chunks(["one"])], PROFILE, engine, TOKENS)
    assert "no usable answer" in rollout.failure and not rollout.fold.done
    assert [(turn.call.id, turn.step is None) for turn in rollout.turns] == [
        ("read/0", False),
        ("answer", False),
        ("answer/a1", True),
    ]
