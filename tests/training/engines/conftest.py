"""A policy with random weights whose attention matters, in the two forms it has: ours and transformers'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from longfold_agent.profiles.demo import SPECIALS
from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.recipes import Recipe, Reinforce, load

Bigram = Callable[[Mapping[str, Mapping[str, float]]], Path]


@pytest.fixture(scope="session")
def random_folder(bigram: Bigram, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy of two layers with random weights and the tokenizer of `bigram`."""
    import shutil

    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("random")
    source = bigram({})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source / name, folder / name)
    torch.manual_seed(3)
    config = Qwen3Config(
        vocab_size=len(SPECIALS) + 256, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=512,
        tie_word_embeddings=True, eos_token_id=6, pad_token_id=0, bos_token_id=None, initializer_range=0.5,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def policy(random_folder: Path) -> LocalPolicy:
    return LocalPolicy(random_folder, device="cpu")


@pytest.fixture
def recipe() -> Callable[..., Reinforce]:
    def make(*settings: str) -> Reinforce:
        usual = ["aepo.enabled=false", "aepo.unit=nats", "optimiser.learning_rate=0.01", "rollouts.temperature=0.7"]
        made: Recipe = load("demo/memory", [*usual, *settings])
        assert isinstance(made, Reinforce)
        return made

    return make
