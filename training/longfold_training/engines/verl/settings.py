"""The `longfold` table of a Hydra file, and what the recipe needs of verl's own keys. Knows no verl and no Hydra.

verl accepts combinations that quietly train something else than Eq. 4, 7 and 11; they are refused before a GPU is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from longfold_training.errors import RecipeError
from longfold_training.recipes.schema import Aepo, Clipping, Dense, Judge, Limits, Section, Share

MODULES = "longfold_training.engines.verl.loop,longfold_training.engines.verl.trainer"
"""What VERL_USE_EXTERNAL_MODULES names in every process of a run."""
NAME = "longfold"
"""Of the trainer, the agent loop and the table."""

_FIXED: Mapping[str, object] = {
    # One trainer, on-policy; the objective of Eq. 4 has neither a critic nor a KL term.
    "trainer.use_v1": True,
    "algorithm.adv_estimator": "grpo",
    "algorithm.use_kl_in_reward": False,
    "algorithm.filter_groups.enable": False,
    "actor_rollout_ref.actor.use_kl_loss": False,
    "actor_rollout_ref.actor.entropy_coeff": 0,
    "actor_rollout_ref.actor.ppo_epochs": 1,
    "actor_rollout_ref.rollout.agent.default_agent_loop": NAME,
    # The factors on the advantages turn this mean into Eq. 4's.
    "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
    # Workers that prefetch would be ahead of the sampler's state in a checkpoint.
    "data.dataloader_num_workers": 0,
    # Otherwise a batch would arrive in pieces, and a piece is not balanced.
    "data.gen_batch_size": None,
}


class Settings(Section):
    """What a stage decides beyond verl's own keys; the same names and defaults as in the recipes of one machine."""

    profile: Literal["qwenlong", "general", "demo"]
    reading: Literal["direct", "fold"]
    limits: Limits = Limits()
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the order of the questions. What vLLM samples is not repeatable."""
    balanced: bool = True
    advantage: Literal["task", "group", "batch"] = "task"
    aepo: Aepo = Aepo()
    clipping: Clipping = Clipping()
    dense: Dense = Dense()
    judge: Judge | None = None
    lost: Share = 0.0
    """Largest share of a batch's attempts that may be lost to failures (an engine that died, a judge that is away)
    before the run stops. A lost attempt is left out of its group; it is never a reward of 0."""


def check(config: Mapping[str, Any]) -> Settings:
    """The settings of a whole, resolved configuration of verl's trainer, as plain values.

    Raises `RecipeError` for an unknown key, a value that does not fit, and for keys of verl that would change the
    objective, cut replies, or keep a row from fitting into its workers' memory limits.
    """
    try:
        settings = Settings.model_validate(config.get(NAME))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RecipeError(f"{NAME}.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    for key, wanted in _FIXED.items():
        found = value(config, key)
        if found != wanted:
            raise RecipeError(f"{key} must be {wanted!r} for this recipe, not {found!r}")
    correction = value(config, "algorithm.rollout_correction", {}) or {}
    if correction.get("bypass_mode"):
        raise RecipeError("algorithm.rollout_correction.bypass_mode skips the pass that measures the entropy of Eq. 11")
    if value(config, "actor_rollout_ref.rollout.n") < 2:
        raise RecipeError("actor_rollout_ref.rollout.n must be at least 2: one attempt has no group to compare with")
    _check_lengths(config, settings)
    return settings


def value(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """The value at a dotted key, or `default`."""
    found: Any = config
    for name in key.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return default
        found = found[name]
    return found


def _check_lengths(config: Mapping[str, Any], settings: Settings) -> None:
    prompt, reply = (value(config, f"data.max_{part}_length") for part in ("prompt", "response"))
    window = value(config, "actor_rollout_ref.rollout.max_model_len")
    if window != prompt + reply:
        raise RecipeError(
            f"actor_rollout_ref.rollout.max_model_len must be data.max_prompt_length + data.max_response_length, "
            f"{prompt + reply}, not {window}: it is the window that prompts are checked against"
        )
    output = settings.limits.output_tokens
    if output is not None and output > reply:
        raise RecipeError(f"longfold.limits.output_tokens is {output}, but data.max_response_length only {reply}")
    if value(config, "actor_rollout_ref.actor.use_dynamic_bsz"):
        ranks = value(config, "actor_rollout_ref.actor.ulysses_sequence_parallel_size")
        room = ranks * value(config, "actor_rollout_ref.actor.ppo_max_token_len_per_gpu")
        if room < window:
            raise RecipeError(
                f"actor_rollout_ref.actor.ppo_max_token_len_per_gpu x ulysses_sequence_parallel_size is {room}, less "
                f"than the longest row, {window} tokens"
            )
