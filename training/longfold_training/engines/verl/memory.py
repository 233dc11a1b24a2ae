"""Whether a stage fits: plain arithmetic from the model's shape, the stage's lengths and the number of GPUs. Measures
nothing.

    python -m longfold_training.engines.verl.memory
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import floor

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Shape:
    """A mixture of experts with grouped-query attention; the default is Qwen3-30B-A3B, from its config.json."""

    layers: int = 48
    hidden: int = 2048
    heads: int = 32
    kv_heads: int = 4
    head_dim: int = 128
    experts: int = 128
    active_experts: int = 8
    expert_width: int = 768
    vocabulary: int = 151_936
    tied: bool = False
    """Whether input and output embeddings are one matrix."""

    @property
    def layer_parameters(self) -> int:
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + self.hidden * self.experts + 3 * self.experts * self.hidden * self.expert_width

    @property
    def embeddings(self) -> int:
        """Parameters of the input and output embeddings."""
        return (1 if self.tied else 2) * self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        return self.layers * self.layer_parameters + self.embeddings

    @property
    def kv_bytes(self) -> int:
        """Of one token, in 16 bits: a key and a value in every layer and KV head."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 2


QWEN3_4B = Shape(layers=36, hidden=2560, kv_heads=8, experts=1, active_experts=1, expert_width=9728, tied=True)
"""A dense model is one expert; the router that this counts, 2,560 weights a layer, is not there."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage on a cluster; the default is full-context 3 and 4 on GPUs of 80 GB."""

    gpus: int
    tokens: int = 176_128
    """Of the longest row, prompt and reply."""
    sequence_parallel: int = 8
    """Ranks that share a row (Ulysses)."""
    tensor_parallel: int = 4
    """GPUs of an inference replica."""
    gpu_bytes: int = 80 * 10**9
    utilisation: float = 0.8
    """Share of a GPU that vLLM takes."""
    attempts: int = 1024
    """Of a batch: 128 questions, eight times each."""
    gpus_per_node: int = 8


MEMORY_4B = Stage(8, tokens=49_664, sequence_parallel=2, tensor_parallel=1)
"""The stage 4b-memory, whose rows are longer than those of 4b-full-context."""


def update(shape: Shape, stage: Stage) -> dict[str, float]:
    """Bytes on each GPU at the update's peak, the backward pass of one layer, by what they hold.

    FSDP2 keeps weights, gradients and both moments in float32, cut over all GPUs; a layer is gathered in bfloat16 (the
    next one beside it), and its gradient summed in float32. Gradient checkpointing keeps each layer's input and
    computes the rest again. verl brings optimiser states back before the forward pass, so offloading does not lower
    this peak.
    """
    own = stage.tokens / stage.sequence_parallel
    kv_heads = max(shape.kv_heads, stage.sequence_parallel)
    # Of a token in an expert: its input, gate, up, their product, its output; in 16 bits, and again as gradients.
    experts = own * shape.active_experts * (2 * shape.hidden + 3 * shape.expert_width) * 2 * 2
    attention = stage.tokens * (2 * shape.heads + 2 * kv_heads) / stage.sequence_parallel * shape.head_dim * 2 * 2
    return {
        "weights, gradients, optimiser (16 B a parameter)": 16 * shape.parameters / stage.gpus,
        "two gathered layers, one gradient in float32": (2 * 2 + 4) * shape.layer_parameters,
        "embeddings, gathered": 2 * shape.embeddings,
        "inputs of all layers": own * shape.hidden * 2 * shape.layers,
        "one layer computed again, with gradients": experts + attention,
        # verl's fused kernel: 512 positions at a time; logits, probabilities and their gradient in float32.
        "logits of a piece": 3 * 512 * shape.vocabulary * 4,
    }


def host(shape: Shape, stage: Stage) -> float:
    """Bytes of main memory on each node that hold what is offloaded: weights and both moments in float32."""
    return 12 * shape.parameters * stage.gpus_per_node / stage.gpus


def together(shape: Shape, stage: Stage) -> int:
    """Attempts of full length that all replicas hold at once, by their KV cache."""
    room = stage.utilisation * stage.gpu_bytes * stage.tensor_parallel - 2 * shape.parameters
    return floor(room / (shape.kv_bytes * stage.tokens)) * (stage.gpus // stage.tensor_parallel)


def table(stages: tuple[Stage, ...], shape: Shape | None = None) -> str:
    """The figures of several clusters side by side, in Markdown, GiB."""
    model = shape or Shape()
    columns = [update(model, stage) for stage in stages]
    lines = [["GiB on each GPU", *(f"{stage.gpus} GPUs" for stage in stages)], ["---", *("---:" for _ in stages)]]
    lines += [[name, *(f"{column[name] / GIB:.1f}" for column in columns)] for name in columns[0]]
    lines += [
        ["**sum**", *(f"**{sum(column.values()) / GIB:.1f}**" for column in columns)],
        ["of", *(f"{stage.gpu_bytes / GIB:.1f}" for stage in stages)],
        ["main memory of a node for what is offloaded", *(f"{host(model, stage) / GIB:.0f}" for stage in stages)],
        ["attempts of full length in the KV caches", *(str(together(model, stage)) for stage in stages)],
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(table((Stage(8), Stage(32), Stage(64))) + "\n\n" + table((MEMORY_4B,), QWEN3_4B) + "\n")
