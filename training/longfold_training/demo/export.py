"""The trained policy as a Hugging Face folder that vLLM serves: bf16 weights, configuration, tokenizer, model card.
Knows no training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from longfold_agent.profiles.demo import DIRECT_TOKENS, EOS, KEEP, PAD, SPECIALS
from longfold_training.demo.model import Policy, Shape, parameters
from longfold_training.errors import ExportError

WINDOW = 4096
"""max_position_embeddings: the largest chunk, question, memory and reply fit many times over."""
SIZE_LIMIT = 25_000_000
"""Largest folder in bytes; the policy travels inside a Python package."""


def export(policy: Policy, tokenizer: Tokenizer, folder: Path, card: str, direct: int = 0) -> Path:
    """Write the policy folder and check it against `policy`.

    direct: most tokens of text that the weights answer from in a single pass; 0 for weights that know none. Raises
    `ExportError` when folder and policy disagree or the folder is too large.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = policy.shape
    weights = {
        f"model.{name}": weight.detach().to(torch.bfloat16).contiguous() for name, weight in policy.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(folder / "config.json", config_of(shape) | ({DIRECT_TOKENS: direct} if direct else {}))
    _write(
        folder / "generation_config.json",
        {"do_sample": False, "temperature": 0.0, "eos_token_id": [EOS, KEEP], "pad_token_id": PAD},
    )
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": SPECIALS[EOS],
            "pad_token": SPECIALS[PAD],
            "additional_special_tokens": [name for place, name in enumerate(SPECIALS) if place not in (EOS, PAD)],
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": WINDOW,
        },
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    if size > SIZE_LIMIT:
        raise ExportError(f"the policy folder holds {size} bytes, more than {SIZE_LIMIT}")
    again = load_policy(folder)
    for name, weight in policy.state_dict().items():
        if not torch.equal(again.state_dict()[name], weight.to(torch.bfloat16).to(weight.dtype)):
            raise ExportError(f"{name} changed on its way through {folder}")
    return folder


def config_of(shape: Shape) -> dict[str, object]:
    """config.json of the architecture as transformers and vLLM read it."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.head,
        "hidden_act": "silu",
        "max_position_embeddings": WINDOW,
        "rms_norm_eps": shape.epsilon,
        "rope_theta": shape.theta,
        "rope_scaling": None,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "initializer_range": 0.02,
        "bos_token_id": None,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
        "use_cache": True,
    }


def load_policy(folder: Path) -> Policy:
    """The policy of an exported folder, in float32. Raises `ExportError` for a folder of another architecture."""
    try:
        config: Mapping[str, object] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights: dict[str, Tensor] = load_file(folder / "model.safetensors")
        shape = Shape(
            vocabulary=_int(config, "vocab_size"),
            width=_int(config, "hidden_size"),
            layers=_int(config, "num_hidden_layers"),
            heads=_int(config, "num_attention_heads"),
            head=_int(config, "head_dim"),
            inner=_int(config, "intermediate_size"),
        )
        policy = Policy(shape)
        policy.load_state_dict({name.removeprefix("model."): weight.float() for name, weight in weights.items()})
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise ExportError(f"{folder} holds no demo policy: {error}") from error
    return policy


def _int(config: Mapping[str, object], name: str) -> int:
    value = config[name]
    if not isinstance(value, int):
        raise ValueError(f"{name} is not a number")
    return value


def _write(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


_ORIGIN = """It was trained from nothing, on a CPU, by
`longfold-train demo --seed {seed}` in {steps} steps: {tokens:.1f} million tokens"""
_FURTHER_ORIGIN = """It went on from a policy that
knew single facts, on a CPU, by `longfold-train demo --start POLICY --seed {seed}` in
{steps} steps: {tokens:.1f} million tokens"""
_FURTHER = """
- **list**: "Which are the passengers of the Heron?", "List the ..."; all that the documents name.
- **count**: "How many passengers does the Heron have?", up to six.
- **hops**: "What is the access code of the manager of Norbel?", where the manager is stated first.

Texts of up to two chunks are answered in a single pass."""


def model_card(
    shape: Shape, steps: int, tokens: int, seed: int, figures: Mapping[str, float], *, further: bool = False
) -> str:
    """README.md of a policy folder; `figures` are measured shares of single steps by name (`train.validate`).

    further: for weights of a run that went on from others (`train.Config.further`).
    """
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in figures.items())
    origin = (_FURTHER_ORIGIN if further else _ORIGIN).format(seed=seed, steps=steps, tokens=tokens / 1e6)
    skills, more = (_FURTHER, "") if further else ("", "counting, lists, several hops, ")
    return f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# longfold demo policy

A policy of {parameters(shape) / 1e6:.1f} million parameters (Qwen3 layout, {shape.layers} layers of width
{shape.width}, tied embeddings, bf16) that reads a document chunk by chunk and keeps what a question
asks for in a short memory. {origin} of generated chunks,
among whose facts stand prose written for the purpose and documentation of Python's standard library.
No weights of others went into it. It exists so that longfold can be tried without an accelerator, a
download or an account.

## What it is for

- **single**: "What is the ATTRIBUTE of ENTITY?" and paraphrases of the question, where a sentence of the documents
  states the attribute of the entity: a number, code, amount, measure, date, name or short phrase.
- **update**: the same where the documents change the value; the last value stated counts.
- **choice**: the same with two to six options, "...? A) 12 B) 14 C) 16"; the answer is the letter.{skills}

Where the documents state nothing it is trained to answer `unknown`.

Its profile shows it the question's words, names, numbers and all but a thousand English words as numbered tokens
wherever they stand in a document, and puts the words back into what it writes. That a word of the document is one of
the question's, and where a name or number begins and ends, is found by this rule; the policy finds which sentence
states the value, and the value.

## What it cannot do

- Anything else: no reasoning, {more}comparison or summaries; no questions about an attribute
  that the text paraphrases ("Who runs ...?" for "the manager of ... is"); no language but English; no tables in which a
  value's meaning depends on its column.
- Requests about the answer's form ("in JSON") are recognised and ignored.
- Unusual sentences mislead it. Its profile refuses replies whose value does not stand in the text, which prevents
  invented values, not wrong ones.

## Figures

Shares of whole replies that are exactly right, by kind of single step, on fresh chunks of the training grammar; the
last two rows are shares of idle steps that write and of active steps that do not:

| step | share |
|---|---|
{rows}

How often whole readings end in the right answer, on material never seen in training, stands in `benchmarks/README.md`
of longfold.

## Use

```
python -m vllm.entrypoints.openai.api_server --model DIR --served-model-name demo \\
    --dtype float32 --enforce-eager --max-model-len 2048
```

with the profile `demo` of longfold_agent, which holds the prompt format, the parser and the sampling settings.
"""
