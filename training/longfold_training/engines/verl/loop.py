"""Attempts as verl's agent loop: a row for every step, each with the attempt's reward. Knows no fold and no rewards'
rule."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput, register

from longfold_training.engines.verl.attempt import Shared, attempt
from longfold_training.engines.verl.dataset import read
from longfold_training.engines.verl.generation import Servers
from longfold_training.engines.verl.settings import NAME, Settings
from longfold_training.episodes import rates


@register(NAME)
class ReadingLoop(AgentLoopBase):  # type: ignore[misc]
    """verl makes one for every attempt."""

    def __init__(self, *, trainer_config: Any, server_manager: Servers, tokenizer: Any, **more: Any) -> None:
        # The base class would set up how chats are continued token by token, for which it asks the tokenizer for one
        # family's marks. Here every call's prompt is whole, and the profile's.
        self.config = trainer_config.config
        self.server_manager = server_manager
        self.tokenizer = tokenizer

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> list[AgentLoopOutput]:
        """The attempt's steps in their order, the answer last. Raises as `attempt` does."""
        config = self.config
        # Not in a thread: all attempts of a batch begin at once, and only the first may make it.
        shared = _shared(
            OmegaConf.to_yaml(config[NAME], resolve=True),
            config.actor_rollout_ref.model.path,
            config.actor_rollout_ref.rollout.max_model_len,
        )
        problem = await asyncio.to_thread(read, row["problem"])
        episode, versions = await attempt(
            shared,
            problem,
            servers=self.server_manager,
            tokenizer=self.tokenizer,
            temperature=sampling_params["temperature"],
            top_p=sampling_params["top_p"],
        )
        steps = episode.trajectory.steps
        told = {name: float(rate) for name, rate in rates([episode.outcome]).items()}
        versions = versions or [row["global_steps"]]
        return [
            AgentLoopOutput(
                prompt_ids=list(step.prompt),
                response_ids=list(step.completion),
                response_mask=[1] * len(step.completion),
                response_logprobs=list(step.logprobs),
                reward_score=episode.trajectory.reward,
                num_turns=len(steps),
                metrics=AgentLoopMetrics(),
                extra_fields={
                    "min_global_steps": min(versions),
                    "max_global_steps": max(versions),
                    "reward_extra_info": {"acc": episode.score.value},
                    # Once an attempt: the trainer takes the mean over attempts.
                    "rates": told if number == len(steps) else {},
                },
            )
            for number, step in enumerate(steps, 1)
        ]


@lru_cache(maxsize=1)
def _shared(table: str, model: str, window: int) -> Shared:
    """Made once in a worker's process, which has one configuration."""
    settings = Settings.model_validate(OmegaConf.to_container(OmegaConf.create(table)))
    return Shared.of(settings, Path(model), window)
