"""The exported folder is the trained model: transformers computes the same logits from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from longfold_agent import load_profile
from longfold_agent.profiles.demo import EOS, KEEP, SPECIALS
from longfold_training.demo.export import config_of, export, load_policy, model_card
from longfold_training.demo.initialisation import initialise
from longfold_training.demo.model import Policy, Shape, parameters
from longfold_training.errors import ExportError


@pytest.fixture
def policy(shape: Shape) -> Policy:
    made = Policy(shape)
    initialise(made, 1)
    return made


def test_transformers_reads_the_same_model(policy: Policy, tokenizer: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = export(policy, tokenizer, tmp_path / "policy", model_card(policy.shape, 1, 1, 0, {"find": 0.5}))
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    text = "<q> What is<w1>'s<w2><w3>?<mem> none<plan> none<chunk>The<w2><w3> of<w1> is AX-4821.<out>"
    ids = AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    assert ids == tokenizer.encode(text).ids
    tokens = torch.tensor([ids])
    with torch.no_grad():
        expected = theirs(tokens).logits
        ours = load_policy(folder)
        torch.testing.assert_close(ours.logits(ours.hidden(tokens)), expected, atol=1e-3, rtol=1e-3)


def test_the_folder_says_how_to_stop(policy: Policy, tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = export(policy, tokenizer, tmp_path / "policy", "card")
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [EOS, KEEP]
    assert [tokenizer.token_to_id(name) for name in SPECIALS] == list(range(len(SPECIALS)))
    assert parameters(policy.shape) == sum(weight.numel() for weight in policy.parameters())


def test_the_folder_says_whether_its_weights_know_the_single_pass(
    policy: Policy, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    from transformers import AutoConfig

    without = export(policy, tokenizer, tmp_path / "without", "card")
    assert (without / "config.json").read_text() == json.dumps(config_of(policy.shape), indent=2) + "\n"
    knowing = export(policy, tokenizer, tmp_path / "knowing", "card", direct=512)
    assert [load_profile("demo", policy=folder).budgets.direct for folder in (without, knowing)] == [0, 512]
    assert AutoConfig.from_pretrained(knowing).hidden_size == policy.shape.width
    load_policy(knowing)


def test_a_folder_without_a_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no demo policy"):
        load_policy(tmp_path)


def test_the_tokenizer_is_lossless_and_splits_values_alike(tokenizer: Tokenizer) -> None:
    text = 'Café "AX-4821" (QZ77),\n\n 1,200.50 naïve — 7F-33B\t…'
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    inside, alone = tokenizer.encode("(4821)").tokens, tokenizer.encode(" 4821").tokens
    assert (
        [token for token in inside if token.isdigit()] == [token for token in alone if token.isdigit()] == list("4821")
    )


def test_all_bytes_have_a_token(tokenizer: Tokenizer) -> None:
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    single = {token for token in vocabulary if len(token) == 1}
    assert len(single) >= 256


def test_the_card_says_what_the_run_taught(shape: Shape) -> None:
    plain, further = (model_card(shape, 1, 1, 0, {}, further=taught) for taught in (False, True))
    assert "no reasoning, counting, lists" in plain and "**list**" not in plain
    assert "no reasoning, comparison" in further and "**list**" in further and "--start" in further
