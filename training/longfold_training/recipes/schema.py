"""The keys of a recipe, with their defaults. Knows no file and no torch.

A default is the paper's value where the paper states one (arXiv 2512.12967, sections 2 and 4); where it does not, the
reason stands beside the key. A recipe states only what differs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


def _base(url: str) -> str:
    parts = urlsplit(url)
    # Reading the port is what checks it.
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError(f"a base URL is http://host:port or https://host, not {url!r}")
    return url


Url = Annotated[str, AfterValidator(_base)]
UrlOrNone = Annotated[str, AfterValidator(lambda url: _base(url) if url else url)]


class Section(BaseModel):
    """A table of a recipe; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Limits(Section):
    """How much a reading may take, in tokens of the policy; None leaves the profile's own budget."""

    input_tokens: Count = 131_072
    """Longest text of a question; a longer one is left out and counted, never cut. 128K is the paper's training
    length."""
    output_tokens: Count | None = None
    """Longest reply of a single pass, reasoning included."""
    chunk_tokens: Count | None = None
    """Tokens of a chunk (fold only)."""
    memory_tokens: Count | None = None
    """Largest memory (fold only)."""
    attempt_tokens: Count | None = None
    """What an attempt may write in all before it stops reading and answers (fold only)."""


class Rollouts(Section):
    """How attempts are sampled."""

    group: Annotated[int, Field(ge=2)] = 8
    """G, attempts at one question."""
    temperature: Positive = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95


class Optimiser(Section):
    """AdamW with a constant rate: one update a batch, strictly on-policy, so the ratio of Eq. 4 is one and its clipping
    never acts."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-6
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps over which the rate rises from zero."""
    max_gradient_norm: Positive = 1.0
    """Not published; verl's default."""


class Aepo(Section):
    """Adaptive entropy-controlled policy optimisation (4.4, Eq. 11).

    Entropy is that of the distribution at the sampling temperature, in nats a token. The paper publishes no bounds; its
    Figure 11 shows the entropy of a 4B model between 0.10 and 0.30, hence these. Another policy needs its own: those of
    the first steps of a run with `enabled = false`, or `unit = "first"`.
    """

    enabled: bool = True
    rule: Literal["paper", "snippet"] = "paper"
    """Section 4.4 with hysteresis, or what the published code does instead (`core/aepo.py` tells the difference)."""
    unit: Literal["nats", "first"] = "nats"
    """Of `low` and `high`: nats, or times the median entropy of the run's first batches (0.5 and 1.5, say)."""
    low: Annotated[float, Field(ge=0)] = 0.1
    """Below it, negative gradients come back."""
    high: Positive = 0.3
    """Above it, attempts with a negative advantage are masked."""
    start_masked: bool = False
    """Whether negative advantages are masked until a bound is first crossed: a fresh start policy is rarely too
    random."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be less than high, or the state would change at every step")
        return self


class Clipping(Section):
    """Negative gradients left out for their entropy (4.3, Eq. 8-10). Off by default: AEPO does better in the paper."""

    level: Literal["none", "token", "sequence"] = "none"
    side: Literal["high", "low"] = "high"
    """Which entropies are left out: above the threshold, or below it."""
    threshold: Annotated[float, Field(ge=0)] = 0.0
    """Nats, at the sampling temperature."""


class Dense(Section):
    """Weights of dense rewards for the memory, beside the answer's own (`rewards/memory.py` tells how each can be
    played). All off by default: the paper rewards the answer alone."""

    held: Share = 0.0
    """For the share of what is right that stands in the last memory."""
    kept: Share = 0.0
    """For replies that leave the memory alone where a chunk holds no evidence; needs problems that name theirs."""
    valid: Share = 0.0
    """For replies that can be used."""

    @model_validator(mode="after")
    def _outbid(self) -> Self:
        if self.held + self.kept + self.valid >= 1:
            raise ValueError(
                "the weights must add up to less than 1, or a wrong answer could earn what a right one does"
            )
        return self


class Lora(Section):
    """Low-rank adapters in place of all weights; they are merged into the policy at the stage's end."""

    rank: Annotated[int, Field(ge=0)] = 0
    """0 trains all weights, as the paper does."""
    alpha: Positive = 32.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Judge(Section):
    """The model that decides whether an answer means the gold answer, where no rule finds it."""

    url: Url
    """Base URL of an OpenAI-compatible endpoint."""
    model: str = "openai/gpt-oss-120b"
    api_key_variable: str = ""
    """Name of the environment variable that holds the key; a key itself never stands in a recipe."""


class Stage(Section):
    """What every stage has."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Everything random follows from it."""


class Reading(Stage):
    """A stage whose policy reads questions' texts."""

    start: Path
    """Policy folder (Hugging Face layout) the stage begins with."""
    data: Path
    """Questions, one JSON object a line."""
    profile: Literal["qwenlong", "general", "demo"]
    """How the policy is asked; the profile that will serve it."""
    reading: Literal["direct", "fold"]
    """A single pass over the whole text, or chunk by chunk with a memory (Eq. 5 and 6)."""
    limits: Limits = Limits()
    judge: Judge | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the network's products; weights and optimiser are always float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    tokens_at_once: Count = 16_384
    """Padded tokens in one forward pass: what fits beside the weights. Changes speed and memory, not the result beyond
    rounding."""


class Reinforce(Reading):
    """Reinforcement learning: full-context with `reading = "direct"`, memory with `reading = "fold"`."""

    kind: Literal["reinforce"]
    steps: Count = 200
    """Updates; the paper's Figure 11 shows 200."""
    questions: Count = 128
    """Questions of a batch, each tried `rollouts.group` times."""
    balanced: bool = True
    """Task-balanced sampling: as many questions of every task in each batch (2.1); False draws from all alike."""
    advantage: Literal["task", "group", "batch"] = "task"
    """Whose standard deviation divides: Eq. 7, Eq. 3, or all rewards of the batch (the paper's ablation)."""
    rollouts: Rollouts = Rollouts()
    dense: Dense = Dense()
    optimiser: Optimiser = Optimiser()
    aepo: Aepo = Aepo()
    clipping: Clipping = Clipping()
    lora: Lora = Lora()
    gradient_checkpointing: bool = False
    """Recomputes activations in the backward pass: less memory, a third more work."""
    checkpoint_every: Count = 10
    """Steps between checkpoints; at most so many are repeated after a kill."""

    @model_validator(mode="after")
    def _reads(self) -> Self:
        limits = self.limits
        if self.reading == "direct" and (limits.chunk_tokens or limits.memory_tokens or limits.attempt_tokens):
            raise ValueError('limits.chunk_tokens, memory_tokens and attempt_tokens belong to reading = "fold"')
        if self.reading == "direct" and self.dense != Dense():
            raise ValueError('dense rewards belong to reading = "fold": a single pass has no memory')
        if self.reading == "fold" and limits.output_tokens:
            raise ValueError(
                "limits.output_tokens belongs to reading = \"direct\"; a fold's replies have the profile's"
            )
        return self


class Attempting(Reading):
    """A stage that attempts questions and changes no weights."""

    url: UrlOrNone = ""
    """Base URL of a vLLM that serves `start`, for policies that one process does not hold or samples too slowly from;
    `precision`, `device` and `tokens_at_once` then mean nothing. "" samples in this process."""


class Evaluate(Attempting):
    """Mean reward of greedy or sampled answers, by task and family."""

    kind: Literal["evaluate"]
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 is greedy; the paper evaluates at 0.7."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95


class Select(Attempting):
    """Difficulty-aware retrospective sampling (4.1): tries each question with the limits of the stage to come, and
    keeps what can still teach."""

    kind: Literal["select"]
    rollouts: Rollouts = Rollouts()
    rule: Literal["balanced", "retrospective"] = "retrospective"
    """Before training: the same number from every bin of pass@1 (2.1). Between stages: what is neither always nor never
    answered, harder questions more often."""
    keep: Count | None = None
    """Questions to keep; "balanced" keeps as many of every task. None keeps all that are neither always nor never
    answered (retrospective only)."""
    least: Annotated[int, Field(ge=0)] = 0
    """Questions of every task that are kept in any case, the hardest first, so that a balanced batch can be made of
    them (retrospective only). 0, as in the paper, ends in an error when nothing can teach any more."""
    bins: Annotated[int, Field(ge=2)] = 5
    passes: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The least reward that counts as a pass in pass@1 (balanced only). Lower it where rewards are shares, as those of
    `ratio` are: hardly one of them is 1, and all its questions would lie in the hardest bin."""

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.rule == "balanced" and self.keep is None:
            raise ValueError('rule = "balanced" needs keep, the number of questions')
        return self


class Merge(Stage):
    """SCE merge of policies that come from one base (4.1)."""

    kind: Literal["merge"]
    base: Path
    """The common ancestor: the policy from which all `sources` were trained."""
    sources: Annotated[tuple[Path, ...], Field(min_length=2)]
    topk: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of elements of largest variance that are merged. The paper states none; FuseO1 uses 1.0, FuseChat 0.1."""
    masking: Literal["deltas", "weights"] = "deltas"
    """Whether selection masks the merged deltas (the published method) or only decides the sources' weights (the
    authors' code)."""


class Problems(Stage):
    """Generated documents with questions for the demo policy."""

    kind: Literal["problems"]
    start: Path
    """Policy folder whose tokenizer counts the chunks."""
    families: Annotated[tuple[str, ...], Field(min_length=1)] = ("single", "update", "choice")
    families_at_once: Count | None = None
    """Families that share a document. A short one has no room for all: the statements that one question of each of six
    rests on fill 300 tokens. None: all share every document."""
    chunks: tuple[Count, Count] = (2, 8)
    """Fewest and most chunks of a document."""
    chunk_tokens: Count = 256
    """As many for each chunk are the most that a document has."""
    documents: Count = 64
    """Of those families that share one; the others have as many of their own."""
    per_family: Count = 1
    """Questions of each family on a document."""
    split: Literal["train", "heldout"] = "train"
    """Names, values and running text."""
    templates: Literal["grammar", "everyday", "heldout"] = "grammar"
    """Sentences; only those of the grammar were seen in the warm start."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.chunks[0] > self.chunks[1]:
            raise ValueError("chunks is the fewest, then the most")
        return self


class Export(Stage):
    """A policy as it is served: another type of weights, everything else as it was."""

    kind: Literal["export"]
    start: Path
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights. float32 is what training leaves, and an export that is never worse than what was trained.
    bfloat16 halves the folder, and takes back every change below half of its step, 1/512 to 1/256 of a weight's size:
    most of what RL changes in a policy that came in bfloat16. Nothing is lost by it where sampling in training was
    `precision = "bfloat16"`, or where the engine computes in bfloat16 in either case: measure the export."""


Recipe = Annotated[Reinforce | Evaluate | Select | Merge | Problems | Export, Field(discriminator="kind")]
