"""A policy of which every probability is known: the reply's next token depends on the last token alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from longfold_agent.profiles.demo import ANS, EOS, KEEP, OUT, PAD, SPECIALS

SURE = 12.0
"""A logit so far above the others that what follows is certain to five digits."""


@pytest.fixture(scope="session")
def bigram(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Mapping[str, Mapping[str, float]]], Path]]:
    """Makes a policy folder (Qwen3, one layer that adds nothing): `{token: {next: logit}}`, tokens as text.

    By default it keeps its memory at every chunk, answers A or B with equal chance and stops. A token that is given no
    logit has that of "" or 0, and so have all tokens after one that is not given.

    From then on torch has one thread: models this small gain nothing from several, which wait for each other on a busy
    machine.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS))
    spec = json.loads(tokenizer.to_str())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    spec["model"]["vocab"] = {token: place for place, token in enumerate([*SPECIALS, *alphabet])}
    size = len(spec["model"]["vocab"])

    def make(given: Mapping[str, Mapping[str, float]]) -> Path:
        folder = tmp_path_factory.mktemp("bigram")
        (folder / "tokenizer.json").write_text(json.dumps(spec))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "pad_token": "<pad>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        config = Qwen3Config(
            vocab_size=size, hidden_size=size, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
            num_key_value_heads=1, head_dim=8, max_position_embeddings=4096, tie_word_embeddings=False,
            eos_token_id=EOS, pad_token_id=PAD, bos_token_id=None,
        )  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Qwen3ForCausalLM(config)
        words = spec["model"]["vocab"]
        with torch.no_grad():
            model.model.layers[0].self_attn.o_proj.weight.zero_()
            model.model.layers[0].mlp.down_proj.weight.zero_()
            # Normalised, a row of the identity is sqrt(size) in one place: the head's column divides it away.
            model.model.embed_tokens.weight.copy_(torch.eye(size))
            head = torch.zeros(size, size)
            stop = {"<eos>": SURE}
            usual = {"<out>": {"<keep>": SURE}, "<ans>": {"A": SURE, "B": SURE}, "A": stop, "B": stop}
            for last, following in {**usual, **given}.items():
                head[:, words[last]] = following.get("", 0.0)
                for token in following.keys() - {""}:
                    head[words[token], words[last]] = following[token]
            model.lm_head.weight.copy_(head / size**0.5)
        model.save_pretrained(folder)
        return folder

    assert [spec["model"]["vocab"][SPECIALS[token]] for token in (PAD, OUT, ANS, KEEP)] == [PAD, OUT, ANS, KEEP]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield make
    torch.set_num_threads(before)


@pytest.fixture
def letters(tmp_path: Path) -> Callable[..., Path]:
    """Makes a file of choice problems, all with the right letter A, each of `chunks` chunks of 64 tokens."""

    def make(count: int = 4, tasks: tuple[str, ...] = ("one", "two"), chunks: int = 2) -> Path:
        lines = []
        for number in range(count):
            problem = {
                "id": f"q{number}",
                "task": tasks[number % len(tasks)],
                "question": f"What is the code of item {number}? A) {number}11 B) {number}22",
                "documents": [{"text": "Nothing stands here. " * (3 * chunks)}],
                "gold": {"rule": "choice", "letter": "A", "options": [f"{number}11", f"{number}22"]},
            }
            lines.append(json.dumps(problem) + "\n")
        path = tmp_path / "problems.jsonl"
        path.write_text("".join(lines))
        return path

    return make
