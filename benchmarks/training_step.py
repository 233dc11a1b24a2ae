"""One update of the local engine, and sampling, at the shapes of Qwen3 with random weights: tokens a second, model
FLOPs utilisation, memory, and the longest row that an update has room for.

    python benchmarks/training_step.py --shape 0.6b
    python benchmarks/training_step.py --shape 4b --flops 989e12 --longest     # an H200's bfloat16 without sparsity

A row is a prompt and a reply of its own, so nothing is shared. The utilisation counts what the update needs (a forward
pass for the entropies, a forward and a backward pass), not what is computed again to save memory.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from report import Row, report

from longfold_agent.protocols import Request
from longfold_agent.types import Prompt, Sampling
from longfold_training.core.trajectory import Step, Trajectory
from longfold_training.engines.local.learn import Learner
from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.engines.local.sample import LocalEngine
from longfold_training.errors import MemoryExhausted
from longfold_training.recipes import Reinforce, load

TOKENIZER = Path(__file__).parents[1] / "server" / "longfold_server" / "policy"
"""Any that is smaller than the shapes' vocabulary: the texts mean nothing."""
PASSES = 4
"""Forward passes that an update is worth: one for the entropies, one to learn, and two for its backward pass."""


@dataclass(frozen=True)
class Shape:
    """Of a Qwen3 with tied embeddings."""

    layers: int
    hidden: int
    width: int
    heads: int
    kv_heads: int
    vocabulary: int = 151_936
    head_dim: int = 128

    def flops(self, prompt: int, reply: int) -> float:
        """Of a forward pass over a row: two for every weight and token, and two for every number in the products of
        causal attention. Logits exist for the reply only."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        length = prompt + reply
        weights = self.layers * (attention + 3 * self.hidden * self.width) * length
        mixed = self.layers * self.heads * self.head_dim * length**2
        return 2.0 * (weights + mixed + self.vocabulary * self.hidden * reply)


SHAPES = {
    "tiny": Shape(2, 32, 64, 2, 1, 8_192, 16),
    "0.6b": Shape(28, 1024, 3072, 16, 8),
    "1.7b": Shape(28, 2048, 6144, 16, 8),
    "4b": Shape(36, 2560, 9728, 32, 8),
}


def folder(shape: Shape, home: Path) -> Path:
    """A policy of the shape with random weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.width,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim, max_position_embeddings=1 << 20, tie_word_embeddings=True, dtype="bfloat16",
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(home)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(TOKENIZER / name, home / name)
    return home


def batch(rows: int, prompt: int, reply: int, words: int) -> list[Trajectory]:
    """One group whose attempts are right and wrong in turn, so that every row has a gradient."""
    random = Random(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(random.randrange(words) for _ in range(count))

    steps = [Step(ids(prompt), ids(reply), (-1.0,) * reply) for _ in range(rows)]
    return [Trajectory("q", "task", (step,), float(number % 2)) for number, step in enumerate(steps)]


async def sampled(policy: LocalPolicy, rows: int, prompt: int, reply: int, at_once: int) -> float:
    """Completion tokens a second."""
    text = " a" * prompt
    requests = [
        Request(Prompt(f"{number}{text}"), Sampling(reply, temperature=1.0, seed=number), want_ids=True)
        for number in range(rows)
    ]
    began = time.perf_counter()
    said = await LocalEngine(policy, tokens_at_once=at_once).complete(requests)
    return sum(len(one.token_ids) for one in said) / (time.perf_counter() - began)


def longest(learner: Learner, reply: int, words: int, most: int) -> int:
    """Tokens of the longest row, by doubling, that an update has room for; `most` where all fit."""
    fits, length = 0, 2 * reply
    while length <= most:
        try:
            learner.learn(batch(2, length - reply, reply, words))
        except MemoryExhausted:
            break
        fits, length = length, 2 * length
    return fits


def peak(device: torch.device) -> float:
    """Most memory so far, GiB: of the GPU, or of this process."""
    used = (
        torch.cuda.max_memory_allocated()
        if device.type == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF)[2] * 1024
    )
    return used / 2**30


async def measure(told: argparse.Namespace, home: Path) -> int:
    shape = SHAPES[told.shape]
    start = folder(shape, home)
    at_once = told.at_once or (told.prompt + told.reply)
    own = ("aepo.enabled=false", f"lora.rank={told.lora}", f"tokens_at_once={at_once}")
    recipe = load("4b/full-context", [f"start={start}", f"data={start}", *own])
    assert isinstance(recipe, Reinforce)
    policy = LocalPolicy(start, precision="bfloat16", lora=recipe.lora, gradient_checkpointing=True)
    words = len(policy.tokenizer)
    speed = await sampled(policy, told.rows, told.prompt, told.reply, told.rows * 2 * (told.prompt + told.reply))
    learner, rows = Learner(policy, recipe), batch(told.rows, told.prompt, told.reply, words)
    learner.learn(rows)
    began = time.perf_counter()
    for _ in range(told.steps):
        learner.learn(rows)
    seconds = (time.perf_counter() - began) / told.steps
    tokens, flops = told.rows * (told.prompt + told.reply), PASSES * told.rows * shape.flops(told.prompt, told.reply)
    found = [
        Row("an update", seconds, "s"),
        Row("update", tokens / seconds, "tokens/s"),
        Row("update", flops / seconds / 1e12, "TFLOP/s"),
        Row("peak memory", peak(policy.device), "GiB"),
        Row("sampling, replies only", speed, "tokens/s"),
    ]
    if told.flops:
        found.append(Row("model FLOPs utilisation", 100 * flops / seconds / told.flops, "%"))
    if told.longest:
        found.append(Row("longest row of an update", longest(learner, told.reply, words, told.most), "tokens"))
    device = torch.cuda.get_device_name() if policy.device.type == "cuda" else "cpu"
    return report(f"training_step_{told.shape}", found, device=device, settings=vars(told))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="0.6b")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--prompt", type=int, default=3072)
    parser.add_argument("--reply", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--at-once", type=int, help="tokens_at_once of the recipe (default: one row)")
    parser.add_argument("--lora", type=int, default=0, help="rank of adapters (default: all weights)")
    parser.add_argument("--flops", type=float, help="the device's own a second, for the utilisation")
    parser.add_argument("--longest", action="store_true", help="find the longest row that fits, too")
    parser.add_argument("--most", type=int, default=1 << 20, help="where that search ends")
    told = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as home:
        return asyncio.run(measure(told, Path(home)))


if __name__ == "__main__":
    raise SystemExit(main())
