"""Rollouts over a scripted engine that reports ids as vLLM does: what becomes a step, a group, a reward, an error."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longfold_agent import (
    Completion,
    EngineUnavailable,
    Mode,
    Request,
    ScriptedEngine,
    Stop,
    UpdateKind,
    load_profile,
)
from longfold_agent.engines.scripted import prompt_text
from longfold_training.core.trajectory import Step
from longfold_training.episodes import Episode, rates
from longfold_training.errors import DataError, JudgeError, RecipeError, RolloutError
from longfold_training.problems import Problem, Text
from longfold_training.rewards import Cover, Exact, Grade, Grader, Judge, MemoryRewards
from longfold_training.rewards.judge import DECOY
from longfold_training.rollout import Collector, Exploration


class Words:
    name = "words"

    def count(self, text: str) -> int:
        return len(text.split())

    def fit(self, text: str, budget: int) -> int:
        following = [word.start() for word in re.finditer(r"\S+", text)][budget:]
        return following[0] if following else len(text)


PROFILE, TOKENS = load_profile("general", chunk_tokens=4, memory_tokens=8), Words()


def problem(name: str, text: str, **more: object) -> Problem:
    fields = {"task": "lookup", "question": "What is the code?", "gold": Exact(answers=("58213",))} | more
    return Problem.model_validate({"id": name, "documents": (Text(text=text),)} | fields)


PROBLEM = problem("p", "One two three four. The code is 58213. Nothing more at all.")


def told(text: str, request: Request, finish: str = "stop") -> Completion:
    """A reply with made-up ids that tell which text was asked and which said."""
    ids = tuple(ord(sign) for sign in text) or (0,)
    prompt = int.from_bytes(hashlib.sha256(prompt_text(request.prompt).encode()).digest()[:4])
    return Completion(text, finish, token_ids=ids, logprobs=tuple(-0.5 for _ in ids), prompt_ids=(1, prompt))


def reader(request: Request) -> Completion:
    """Writes the code when it stands in the chunk, else keeps; answers from its memory."""
    text = prompt_text(request.prompt)
    chunk = text.split("<section>")[-1].split("</section>")[0] if "<section>" in text else None
    if chunk is None:
        return told("58213" if "code 58213" in text else "unknown", request)
    return told("<memory>code 58213</memory><plan>stop</plan>" if "58213" in chunk else "KEEP", request)


def collector(
    script: Callable[[Request], Completion] | Sequence[Completion] | ScriptedEngine = reader,
    *,
    judge: Judge | None = None,
    memory: MemoryRewards | None = None,
    **how: object,
) -> Collector:
    engine = script if isinstance(script, ScriptedEngine) else ScriptedEngine(script)
    exploration = replace(Exploration(group=2, mode=Mode.FOLD), **how)  # type: ignore[arg-type]
    return Collector(
        profile=PROFILE, engine=engine, tokens=TOKENS, grader=Grader(judge), exploration=exploration, memory=memory
    )


async def test_an_attempt_is_its_calls_with_the_engines_ids_and_one_reward() -> None:
    engine = ScriptedEngine(reader)
    first, second = await collector(engine).collect([PROBLEM], seed="run/0")
    assert (first.answer, first.memory, first.trajectory.reward, first.score.by) == (
        "58213", "code 58213", 1.0, Grade.RULE,
    )  # fmt: skip
    assert first.updates == (UpdateKind.KEEP, UpdateKind.REWRITE, UpdateKind.KEEP, None)
    assert (first.trajectory.group, first.trajectory.task) == ("p", "lookup")
    asked = [told("", request).prompt_ids for request in engine.requests]
    assert {step.prompt for step in first.trajectory.steps} <= set(asked)
    assert first.trajectory.steps[0].completion == tuple(map(ord, "KEEP"))
    assert first.trajectory.steps[-1].completion == tuple(map(ord, "58213"))
    assert first.trajectory.steps[-1].logprobs == (-0.5,) * 5
    assert second.trajectory == first.trajectory
    assert all(request.want_ids for request in engine.requests)


async def test_only_the_sampling_differs_from_what_is_served() -> None:
    engine = ScriptedEngine(reader)
    await collector(engine, temperature=0.9, top_p=0.8).collect([PROBLEM], seed="run/0")
    for request in engine.requests:
        assert (request.sampling.temperature, request.sampling.top_p) == (0.9, 0.8)
    budgets = PROFILE.budgets
    assert {request.sampling.max_tokens for request in engine.requests} == {budgets.read_output, budgets.answer_output}
    seeds = [request.sampling.seed for request in engine.requests]
    assert len(set(seeds)) == len(seeds) == 8
    again = ScriptedEngine(reader)
    await collector(again, temperature=0.9, top_p=0.8).collect([PROBLEM], seed="run/0")
    assert sorted(map(repr, again.requests)) == sorted(map(repr, engine.requests))
    other = ScriptedEngine(reader)
    await collector(other, output=33).collect([PROBLEM], seed="run/1")
    assert not {request.sampling.seed for request in other.requests} & set(seeds)
    assert {request.sampling.max_tokens for request in other.requests} == {33}
    free = ScriptedEngine(reader)
    await collector(free).collect([PROBLEM])
    assert {request.sampling.seed for request in free.requests} == {None}


async def test_a_greedy_attempt_is_warm_only_when_it_tries_again() -> None:
    engine = ScriptedEngine(lambda request: told("nonsense", request))
    await collector(engine, temperature=0.0, group=1).collect([PROBLEM])
    read = [request.sampling.temperature for request in engine.requests if "<section>" in prompt_text(request.prompt)]
    assert read == [0.0, 0.3] * 3


@pytest.mark.parametrize("lockstep", [True, False])
async def test_both_ways_of_going_give_the_same_episodes(lockstep: bool) -> None:
    sizes: list[int] = []

    class Counting(ScriptedEngine):
        async def complete(self, requests: Sequence[Request]) -> list[Completion]:
            sizes.append(len(requests))
            return await super().complete(requests)

    problems = [PROBLEM, problem("q", "Two words. And a third sentence here."), PROBLEM]
    engine = Counting(reader, latency=0.001)
    episodes = await collector(engine, lockstep=lockstep, at_once=3).collect(problems, seed="s")
    assert [episode.trajectory.group for episode in episodes] == ["p", "p", "q", "q", "p#2", "p#2"]
    assert [episode.trajectory.reward for episode in episodes] == [1, 1, 0, 0, 1, 1]
    assert len({request.sampling.seed for request in engine.requests}) == engine.calls
    assert [len(episode.updates) for episode in episodes] == [4, 4, 3, 3, 4, 4]
    assert (sizes == [6, 6, 6, 4]) if lockstep else (set(sizes) == {1} and engine.peak == 3)


async def test_unusable_replies_are_steps_and_a_reading_without_answer_is_worth_nothing() -> None:
    def broken(request: Request) -> Completion:
        text = prompt_text(request.prompt)
        return told("nonsense", request, "length") if "<section>" in text else told("", request)

    [episode] = await collector(broken, group=1).collect([PROBLEM])
    assert episode.updates == (UpdateKind.INVALID,) * 6 + (None, None)
    assert (episode.answer, episode.memory, episode.trajectory.reward) == ("", "", 0.0)
    assert "no usable answer in 2 attempts" in episode.failure
    assert (episode.clipped, len(episode.trajectory.steps)) == (6, 8)
    found = rates([episode.outcome])
    assert (found["invalid"], found["keep"], found["answered"], found["clipped"]) == (1.0, 0.0, 0.0, 6 / 8)


async def test_a_budget_ends_the_reading_and_the_answer_comes_from_what_was_read() -> None:
    [whole] = await collector(group=1).collect([PROBLEM])
    assert whole.stop is None
    [cut] = await collector(group=1, tokens=5).collect([PROBLEM])
    assert (cut.updates, cut.stop, cut.answer) == (
        (UpdateKind.KEEP, UpdateKind.REWRITE, None), Stop.TOKENS, "58213",
    )  # fmt: skip
    [early] = await collector(group=1, tokens=4).collect([PROBLEM])
    assert (early.updates, early.answer, early.trajectory.reward) == ((UpdateKind.KEEP, None), "unknown", 0.0)


async def test_a_single_pass_is_one_step() -> None:
    def once(request: Request) -> Completion:
        assert "58213" in prompt_text(request.prompt)
        return told("58213", request)

    for mode in (Mode.DIRECT, Mode.AUTO):
        engine = ScriptedEngine(once)
        episodes = await collector(engine, mode=mode, output=20).collect([PROBLEM], seed="s")
        assert [episode.updates for episode in episodes] == [(None,), (None,)]
        assert [episode.trajectory.reward for episode in episodes] == [1.0, 1.0]
        assert {request.sampling.max_tokens for request in engine.requests} == {20}
        assert len({request.sampling.seed for request in engine.requests}) == 2
    [silent] = await collector(lambda request: told("", request), mode=Mode.DIRECT, group=1).collect([PROBLEM])
    assert (silent.answer, silent.trajectory.reward) == ("", 0.0)
    assert "empty" in silent.failure


async def test_short_and_long_texts_go_side_by_side() -> None:
    long = problem("long", "Words and words and words. " * 800 + "The code is 58213.")
    engine = ScriptedEngine(lambda request: told("KEEP", request), window=8_000)
    for lockstep in (True, False):
        episodes = await collector(engine, mode=Mode.AUTO, lockstep=lockstep, tokens=12).collect([long, PROBLEM])
        assert [len(episode.updates) for episode in episodes] == [4, 4, 1, 1]


async def test_what_the_window_cannot_take_is_refused_before_anything_is_asked() -> None:
    engine = ScriptedEngine(reader, window=1_000)
    with pytest.raises(DataError, match=r"problem 'p': A read call .* needs"):
        await collector(engine).collect([PROBLEM])
    with pytest.raises(DataError, match="problem 'p': The documents do not fit a single pass"):
        await collector(engine, mode=Mode.DIRECT).collect([PROBLEM])
    assert engine.calls == 0


async def test_problems_that_the_window_cannot_take_are_named_before_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problems = [PROBLEM, *(problem(f"long{number}", "Words and words. " * 3_000) for number in range(7))]
    sizes = [TOKENS.count(one.documents[0].text) for one in problems]
    engine, counted, count = ScriptedEngine(reader, window=8_000), list[str](), Words.count

    def counting(tokens: Words, text: str) -> int:
        counted.append(text)
        return count(tokens, text)

    monkeypatch.setattr(Words, "count", counting)
    direct = collector(engine, mode=Mode.DIRECT, output=100)
    told = r"7 of 8 problems cannot be attempted: problem 'long0': .* window .*; then 'long1', .*, 'long4', \.\.\.$"
    with pytest.raises(DataError, match=told):
        await direct.check(problems, sizes)
    # What fits by far was counted once, by whoever told its size.
    assert not any("58213" in text for text in counted)
    await direct.check(problems[:1], sizes[:1])
    await collector(engine).check(problems, sizes)
    with pytest.raises(DataError, match=r"1 of 1 problems cannot be attempted: problem 'p': A read call .* needs"):
        await collector(ScriptedEngine(reader, window=1_000)).check(problems[:1], sizes[:1])
    assert engine.calls == 0


async def test_instructions_reach_the_answer_only_and_the_model_splits_nothing() -> None:
    engine = ScriptedEngine(reader)
    await collector(engine, group=1).collect([problem("p", "One.", instructions="Answer in digits.")])
    assert ["Answer in digits." in prompt_text(request.prompt) for request in engine.requests] == [False, True]
    profile = load_profile("demo")
    demo = Collector(
        profile=profile, engine=ScriptedEngine(lambda request: told("<keep>", request)), tokens=TOKENS,
        grader=Grader(), exploration=Exploration(group=1),
    )  # fmt: skip
    [episode] = await demo.collect([problem("p", "One.", question="Who? A) Ann B) Bob")])
    assert episode.updates == (UpdateKind.KEEP, *[None] * (1 + profile.budgets.retries))


@pytest.mark.parametrize(
    "change",
    [{"token_ids": (), "logprobs": ()}, {"prompt_ids": ()}, {"logprobs": (-0.5,)}, {"logprobs": (float("nan"),) * 4}],
)
async def test_replies_that_cannot_be_trained_on_are_an_error(change: dict[str, tuple[float, ...]]) -> None:
    engine = ScriptedEngine(lambda request: replace(told("KEEP", request), **change))  # type: ignore[arg-type]
    with pytest.raises(RolloutError, match="cannot be trained on"):
        await collector(engine).collect([PROBLEM])


@pytest.mark.parametrize("lockstep", [True, False])
async def test_an_outage_is_an_error_and_leaves_nothing_running(lockstep: bool) -> None:
    engine = ScriptedEngine(reader, latency=0.01, failures={5: EngineUnavailable("gone")})
    with pytest.raises(RolloutError, match="the engine of the policy failed: gone"):
        await collector(engine, lockstep=lockstep, group=4).collect([PROBLEM])
    await asyncio.sleep(0.02)
    assert engine.active == 0
    away = Judge(ScriptedEngine(EngineUnavailable("judge gone")), "m")
    with pytest.raises(JudgeError, match="judge gone"):
        await collector(judge=away).collect([problem("p", "One.", gold=Cover(answers=("Ann",)))])


async def test_rewards_of_judge_and_memory_add_up() -> None:
    fair = ScriptedEngine(lambda request: "[[NO]]" if DECOY in prompt_text(request.prompt) else "[[YES]]")
    open_ = problem("open", "The code is 58213.", gold=Cover(answers=("five eight two one three",)), task="open")
    episodes = await collector(
        judge=Judge(fair, "m"), memory=MemoryRewards(held=0.25, valid=0.5)
    ).collect([PROBLEM, open_])  # fmt: skip
    assert [(episode.score.value, episode.score.by, episode.dense) for episode in episodes] == [
        (1.0, Grade.RULE, 0.75), (1.0, Grade.RULE, 0.75), (1.0, Grade.JUDGE, 0.5), (1.0, Grade.JUDGE, 0.5),
    ]  # fmt: skip
    assert [episode.trajectory.reward for episode in episodes] == [1.75, 1.75, 1.5, 1.5]
    assert rates([episode.outcome for episode in episodes]) == {
        "reward": 1.625, "score": 1.0, "score/lookup": 1.0, "score/open": 1.0, "answered": 1.0, "cut": 0.0,
        "judged": 0.5, "ungraded": 0.0, "steps": 3.0, "tokens": 53.0, "clipped": 0.0,
        "rewrite": 0.5, "keep": 0.5, "invalid": 0.0,
    }  # fmt: skip
    assert rates([]) == {}


@pytest.mark.parametrize(
    "change",
    [{"group": 0}, {"temperature": -0.1}, {"temperature": float("nan")}, {"top_p": 0.0}, {"output": 0}, {"tokens": 0}],
)
def test_numbers_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(RecipeError):
        Exploration(**change)  # type: ignore[arg-type]


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["KEEP", "nonsense", "<memory>x</memory>", "58213", ""]), max_size=24), st.booleans())
def test_any_replies_end_in_one_episode_each(replies: list[str], lockstep: bool) -> None:
    left = iter(replies)

    def any_reply(request: Request) -> Completion:
        return told(next(left, "58213"), request)

    episodes: list[Episode] = asyncio.run(collector(any_reply, lockstep=lockstep).collect([PROBLEM]))
    assert len(episodes) == 2
    for episode in episodes:
        assert len(episode.trajectory.steps) == len(episode.updates) >= 1
        assert all(isinstance(step, Step) for step in episode.trajectory.steps)
        assert (episode.answer == "") == bool(episode.failure)
        assert episode.trajectory.reward == float(episode.answer == "58213")
