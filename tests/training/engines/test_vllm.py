"""Rollouts over a real vLLM: the ids and log-probabilities it reports are those of a forward pass with the same
weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from service import real_engine

from longfold_agent import VLLMEngine
from longfold_agent.route import Mode
from longfold_training.core.trajectory import Step
from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.problems import load
from longfold_training.recipes import Limits
from longfold_training.rewards import Grader
from longfold_training.rollout import Collector, Exploration
from longfold_training.served import served

Bigram = Callable[[Mapping[str, Mapping[str, float]]], Path]
TEMPERATURE = 0.7


def scored(policy: LocalPolicy, step: Step) -> list[float]:
    """Log-probabilities of the completion under the policy, nats."""
    tokens = torch.tensor([step.prompt + step.completion])
    targets = torch.zeros_like(tokens, dtype=torch.bool)
    targets[0, len(step.prompt) :] = True
    with torch.no_grad():
        found: list[float] = policy.scores(tokens, targets, TEMPERATURE)[0].tolist()
    return found


@pytest.fixture
def surprising(bigram: Bigram, tmp_path: Path) -> Path:
    """A policy with random weights, whose replies are long and improbable; its heads are as wide as vLLM wants them."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path / "policy"
    shutil.copytree(bigram({}), folder)
    config = Qwen3Config.from_pretrained(folder)
    config.update({"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2, "num_key_value_heads": 1})
    config.update({"head_dim": 64, "num_hidden_layers": 2, "layer_types": ["full_attention"] * 2})
    config.initializer_range = 0.3
    with torch.random.fork_rng():
        torch.manual_seed(3)
        Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
async def test_vllm_tells_what_the_weights_say(surprising: Path, letters: Callable[..., Path]) -> None:
    problems = list(load(letters(count=2)))
    tokens, profile = served(surprising, "demo", Limits(chunk_tokens=64, memory_tokens=64))
    exploration = Exploration(group=2, temperature=TEMPERATURE, top_p=1.0, mode=Mode.FOLD)
    flags = ("--dtype", "float32", "--logprobs-mode", "processed_logprobs")
    async with real_engine(*flags, model=surprising) as url:
        engine = VLLMEngine(url)
        try:
            collector = Collector(
                profile=profile, engine=engine, tokens=tokens, grader=Grader(), exploration=exploration
            )
            episodes = await collector.collect(problems, seed="a")
            again = await collector.collect(problems, seed="a")
        finally:
            await engine.aclose()
    assert [episode.trajectory.group for episode in episodes] == ["q0", "q0", "q1", "q1"]
    policy = LocalPolicy(surprising, device="cpu")
    steps = [step for episode in episodes for step in episode.trajectory.steps]
    for step in steps:
        assert step.logprobs == pytest.approx(scored(policy, step), abs=1e-3)
    assert sum(len(step.completion) for step in steps) > 200
    assert min(min(step.logprobs) for step in steps) < -2
    # The prompt's ids are those that training would make of the same text.
    for step in steps:
        assert tuple(policy.tokenizer(policy.tokenizer.decode(step.prompt))["input_ids"]) == step.prompt
    # Two attempts differ, and the same seed samples the same.
    assert episodes[0].trajectory.steps != episodes[1].trajectory.steps
    assert [one.trajectory.steps[0].completion for one in again] == [
        one.trajectory.steps[0].completion for one in episodes
    ]
