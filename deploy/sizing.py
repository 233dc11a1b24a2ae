"""How many calls and jobs one GPU serves: plain arithmetic from the model's shape, the card's figures and four
assumptions that your own metrics replace. Measures nothing.

    python deploy/sizing.py --output 2500 --memory 8000      # as longfold_tokens_total says of your jobs
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True)
class Model:
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

    @property
    def expert_parameters(self) -> int:
        return self.layers * self.experts * 3 * self.hidden * self.expert_width

    @property
    def embedding_parameters(self) -> int:
        """Input and output, which are not tied."""
        return 2 * self.vocabulary * self.hidden

    @property
    def other_parameters(self) -> int:
        """Attention and the experts' routers."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + self.hidden * self.experts)

    @property
    def active_parameters(self) -> float:
        """Multiplied with for one token; the input embedding is a look-up."""
        experts = self.expert_parameters * self.active_experts / self.experts
        return experts + self.other_parameters + self.embedding_parameters / 2

    def weight_bytes(self, each: float) -> float:
        """`each`: bytes of a quantised parameter; embeddings stay in 16 bits."""
        return (self.expert_parameters + self.other_parameters) * each + self.embedding_parameters * 2

    def kv_bytes(self, each: float) -> float:
        """Of one token: a key and a value in every layer and KV head."""
        return 2 * self.layers * self.kv_heads * self.head_dim * each


@dataclass(frozen=True)
class Card:
    name: str
    memory: float
    """Bytes."""
    bandwidth: float
    """Bytes per second."""
    flops: float
    """Dense, 16 bits, per second."""


H100 = Card("H100 80 GB", 79.6 * GIB, 3.35e12, 989e12)
H200 = Card("H200 141 GB", 140.4 * GIB, 4.8e12, 989e12)


@dataclass(frozen=True)
class Load:
    """A mean reading call, in tokens, and how well an engine uses the card."""

    chunk: int = 32_768
    memory: int = 5_000
    """Assumption: mean over a job, of at most 15,000."""
    template: int = 1_500
    """Plan, question, template."""
    output: int = 4_000
    """Assumption: reasoning, memory and plan."""
    compute_share: float = 0.35
    """Assumption: of the card's peak, in prefill."""
    bandwidth_share: float = 0.6
    """Assumption: of the card's peak, in decoding."""
    utilisation: float = 0.92
    """--gpu-memory-utilization."""
    overhead: float = 4 * GIB
    """Assumption: activations and graphs."""

    @property
    def prompt(self) -> int:
        return self.chunk + self.memory + self.template


@dataclass(frozen=True)
class Row:
    card: Card
    weights: float
    """Bytes."""
    kv: float
    """Bytes left for the KV cache."""
    token: float
    """Bytes of one token's KV cache."""
    calls: int
    """At once."""
    prefill: float
    """Seconds of one call's prompt."""
    step: float
    """Seconds of one decoding step of all calls."""
    chunks: float
    """Per hour."""


def size(model: Model, card: Card, weight_bits: int, kv_bits: int, load: Load) -> Row:
    """One card with one replica."""
    weights, token = model.weight_bytes(weight_bits / 8), model.kv_bytes(kv_bits / 8)
    kv = card.memory * load.utilisation - weights - load.overhead
    calls = max(0, int(kv // ((load.prompt + load.output) * token)))
    if not calls:
        return Row(card, weights, kv, token, 0, 0.0, 0.0, 0.0)
    attention = 4 * model.layers * model.heads * model.head_dim * load.prompt**2 / 2
    prefill = (2 * model.active_parameters * load.prompt + attention) / (card.flops * load.compute_share)
    # A step reads every expert that at least one of the calls chose, all other weights, and every call's cache.
    touched = 1 - (1 - model.active_experts / model.experts) ** calls
    dense = model.other_parameters * weight_bits / 8 + model.embedding_parameters
    read = model.expert_parameters * weight_bits / 8 * touched + dense
    read += calls * (load.prompt + load.output / 2) * token
    step = read / (card.bandwidth * load.bandwidth_share)
    seconds = calls * prefill + load.output * step
    return Row(card, weights, kv, token, calls, prefill, step, 3600 * calls / seconds)


CHOICES = ((H100, 8, 16), (H100, 8, 8), (H200, 16, 16), (H200, 8, 8))


def table(load: Load, job_tokens: int) -> str:
    """In Markdown, a row for each choice of card and precision."""
    lines = [
        "| card, weights / KV cache in bits | weights | left for KV | KV per token | calls at once | prefill of a call "
        "| decoding step | chunks per hour | jobs per hour | hours of one job |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for card, weight_bits, kv_bits in CHOICES:
        row = size(Model(), card, weight_bits, kv_bits, load)
        # A call for each chunk, one to split the question, one to answer.
        jobs = row.chunks / (job_tokens / load.chunk + 2)
        # Each job has one call at a time, so as many jobs run as calls fit (Little's law).
        hours = f"{row.calls / jobs:.1f}" if jobs else "-"
        lines.append(
            f"| {card.name}, {weight_bits} / {kv_bits} | {row.weights / GIB:.0f} GiB | {row.kv / GIB:.0f} GiB | "
            f"{row.token / 1024:.0f} KiB | {row.calls} | {row.prefill:.1f} s | {1000 * row.step:.0f} ms | "
            f"{row.chunks:.0f} | {jobs:.1f} | {hours} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    default = Load()
    for name in ("chunk", "memory", "template", "output"):
        value = getattr(default, name)
        parser.add_argument(f"--{name}", type=int, default=value, help=f"tokens of a mean call (default: {value})")
    for name in ("compute_share", "bandwidth_share"):
        value = getattr(default, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value, help=f"(default: {value})")
    parser.add_argument("--job-tokens", type=int, default=1_000_000, help="of one job's documents (default: 1,000,000)")
    given = vars(parser.parse_args())
    job_tokens = given.pop("job_tokens")
    sys.stdout.write(table(Load(**given), job_tokens) + "\n")


if __name__ == "__main__":
    main()
