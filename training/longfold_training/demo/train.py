"""Training of the demo policy, from nothing or from one that knows less: one process, a checkpoint every few minutes,
resumable to the step. Knows no engine."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from longfold_agent.profiles.demo import KEEP, MEMORY
from longfold_training.checkpoints import read_checkpoint, write_checkpoint
from longfold_training.demo.corpus import corpus
from longfold_training.demo.direct import direct_load, longest
from longfold_training.demo.export import load_policy
from longfold_training.demo.initialisation import initialise
from longfold_training.demo.model import Policy, Shape
from longfold_training.demo.muon import Muon
from longfold_training.demo.packing import Batch, pack
from longfold_training.demo.rows import Row, make_rows
from longfold_training.demo.schedule import LOADS, Load, Schedule
from longfold_training.demo.several import several_rows
from longfold_training.demo.tokenizer import load_tokenizer, train_tokenizer
from longfold_training.demo.words import Split
from longfold_training.errors import CheckpointError, DivergedError, StorageError
from longfold_training.folders import whole_file
from longfold_training.policy_folder import weights_hash


@dataclass(frozen=True, slots=True)
class Config:
    """One training run."""

    steps: int = 3800
    """Optimiser steps; the default is the shipped policy's length."""
    seed: int = 0
    shape: Shape = field(default_factory=Shape)
    peak: float = 3e-3
    decay: float = 0.6
    stages: tuple[tuple[int, float], ...] = ((64, 0.0), (128, 0.12), (256, 0.4))
    ordinary: float = 0.75
    """Share of statements as people ordinarily write them; the others say it in every way the grammar knows."""
    families: float = 0.0
    """Share of chunks that are asked about lists, counts and two hops; at 0 the rows are those of a run without."""
    direct: float = 0.0
    """Share of steps that train the single pass; at 0 the rows are those of a run without."""
    labels: float = 1.0
    """Weight of the labels on the chunk's tokens (`spans`) beside the replies, for the bits and for the values."""
    start: str = ""
    """`policy_folder.weights_hash` of the policy it goes on from; none for a run from nothing."""
    threads: int = 2
    report_every: int = 25
    validate_every: int = 400
    checkpoint_every: int = 200

    def schedule(self) -> Schedule:
        return Schedule(self.steps, self.peak, decay=self.decay, stages=self.stages, ordinary_floor=self.ordinary)

    @classmethod
    def further(cls, start: Path, steps: int = 3000, **settings: Any) -> Config:
        """A policy that knows single facts goes on to lists, counts, two hops and the single pass. Raises
        `CheckpointError` or `ExportError` for a folder that holds no demo policy."""
        return cls(
            steps, shape=load_policy(start).shape, peak=1.5e-3, decay=0.9, stages=((128, 0.0), (256, 0.4)),
            families=0.55, direct=0.1, start=weights_hash(start), **settings,
        )  # fmt: skip

    @property
    def direct_tokens(self) -> int:
        """Most tokens of text that the single pass is trained on; 0 where it is not."""
        return longest(self.stages[-1][0]) if self.direct else 0


def make_load(
    rng: Random,
    tokenizer: Tokenizer,
    load: Load,
    split: Split,
    *,
    vary: bool = True,
    ordinary: float = 0.0,
    families: float = 0.0,
    direct: float = 0.0,
) -> list[Row]:
    """One step's rows; in half of the steps the chunks are shorter than the load's, as a document's last chunk is.

    families: share of chunks with questions over several facts. direct: share of steps of the single pass.
    """
    if direct and rng.random() < direct:
        return direct_load(rng, tokenizer, load, split, ordinary, families)
    tokens = load.chunk if not vary or rng.random() < 0.5 else rng.randint(load.chunk * 2 // 5, load.chunk)
    rows: list[Row] = []
    while len(rows) < load.rows:
        make = several_rows if families and rng.random() < families else make_rows
        made = make(rng, tokenizer, tokens, load.each, split, ordinary)
        rows += [row for row in made if len(row.prompt) + len(row.target) <= load.length]
    return rows[: load.rows]


class Probe(nn.Module):
    """Reads the labels of `spans` off the states before the last layer; serves training only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 3)
        nn.init.zeros_(self.linear.weight)
        nn.init.constant_(self.linear.bias, _RARE)

    def loss(self, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Sum of cross entropies. states: (rows, length, width); labels: (rows, length, 3), -1 for none."""
        told = labels[..., 0] >= 0
        seen = F.rms_norm(states[told], (states.shape[-1],))
        return F.binary_cross_entropy_with_logits(
            self.linear(seen), labels[told], reduction="sum", pos_weight=torch.tensor(_POSITIVE)
        )


_RARE, _POSITIVE = -3.0, 4.0
"""The probe's first guess as a logit, and the weight of tokens that bear a label: few do."""


def _value_loss(policy: Policy, states: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Sum of cross entropies of the stated values' first tokens. states: (rows, length, width); values: (rows, length).

    Read by the policy's own head: a value that stands before its key has to arrive where its statement is complete.
    """
    stated = values > 0
    return F.cross_entropy(policy.logits(policy.norm(states[stated])), values[stated], reduction="sum")


def _reply_loss(policy: Policy, hidden: torch.Tensor, batch: Batch, total: torch.Tensor) -> torch.Tensor:
    """Weighted cross entropy over reply tokens, divided by `total`; hidden: (rows, length, width)."""
    weights = batch.weights[:, 1:]
    places = weights > 0
    logits = policy.logits(hidden[:, :-1][places])
    each = F.cross_entropy(logits, batch.tokens[:, 1:][places], reduction="none")
    return (each * weights[places]).sum() / total


@torch.no_grad()
def validate(
    policy: Policy,
    tokenizer: Tokenizer,
    chunk: int,
    split: Split,
    batches: int,
    ordinary: float = 0.0,
    families: float = 0.0,
    direct: float = 0.0,
) -> dict[str, float]:
    """Exact match of whole replies (teacher forced) by tag, and the gate's two error rates, on fresh rows of a
    split."""
    rng = Random(f"validate/{split}/{chunk}")
    right: dict[str, list[bool]] = {}
    false_writes = missed = idle = active = 0
    for _ in range(batches):
        rows = make_load(
            rng, tokenizer, LOADS[chunk], split, vary=False, ordinary=ordinary, families=families, direct=direct
        )
        batch = pack(rows)
        places = batch.weights[:, 1:] > 0
        best = policy.logits(policy.hidden(batch.tokens)[:, :-1][places]).argmax(-1).tolist()
        at = 0
        for row in batch.rows:
            said = best[at : at + len(row.target)]
            at += len(row.target)
            right.setdefault(row.tag, []).append(said == row.target)
            if row.reads and row.target[0] == KEEP:
                idle += 1
                false_writes += said[0] != KEEP
            elif row.target[0] == MEMORY:
                active += 1
                missed += said[0] == KEEP
    report = {tag: sum(hits) / len(hits) for tag, hits in sorted(right.items())}
    return report | {"false_write": false_writes / max(1, idle), "missed": missed / max(1, active)}


def optimizers(policy: Policy, probe: Probe, parts: int) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, in `parts` that can step side by side, and AdamW for the rest."""
    matrices = [weight for name, weight in policy.named_parameters() if weight.dim() == 2 and "embed" not in name]
    others = [weight for name, weight in policy.named_parameters() if weight.dim() != 2 or "embed" in name]
    return [
        *(Muon(matrices[part::parts], lr=1.0) for part in range(parts)),
        torch.optim.AdamW(others, lr=1.0, betas=(0.9, 0.97), weight_decay=0.0),
        torch.optim.AdamW(probe.parameters(), lr=1.0, betas=(0.9, 0.97), weight_decay=0.0),
    ]


def has_bfloat16_units() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; without such units autocast only costs."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _apply(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()
    optimizer.zero_grad()


def shares(rows: Sequence[Row], count: int) -> list[list[Batch]]:
    """The rows in `count` shares of about equal work, each as batches of rows that are about equally long."""
    ordered = sorted(rows, key=lambda row: len(row.prompt) + len(row.target))
    cuts = (0, len(rows) // 4, len(rows))
    return [
        [pack(group) for low, high in pairwise(cuts) if (group := ordered[low:high][place::count])]
        for place in range(count)
    ]


class Run:
    """A training run in a folder: config.json, tokenizer.json, checkpoint.pt, metrics.jsonl.

    resume: go on from the folder's checkpoint where it has one; else everything in the folder is begun anew.
    tokenizer: used by a new run instead of the one trained on `corpus(seed)`.
    start: folder of the policy whose weights and tokenizer a new run begins with; `config.start` is its identity.
    Raises `CheckpointError` when the checkpoint is unreadable or belongs to other settings.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        *,
        resume: bool = False,
        tokenizer: Tokenizer | None = None,
        start: Path | None = None,
    ) -> None:
        self.folder = folder
        self.config = config
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        # One thread per half of the rows, each with single-threaded kernels: on shared cores this is several times
        # faster than kernels that split every product over the cores and wait for the slower half.
        self.workers = ThreadPoolExecutor(config.threads, initializer=torch.set_num_threads, initargs=(1,))
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        resume = resume and (folder / "checkpoint.pt").exists()
        path = folder / "tokenizer.json"
        if resume and path.exists():
            self.tokenizer = load_tokenizer(path)
        elif start is not None:
            self.tokenizer = load_tokenizer(start / "tokenizer.json")
        else:
            self.tokenizer = tokenizer or train_tokenizer(corpus(config.seed), config.shape.vocabulary)
        self.policy = Policy(config.shape)
        self.probe = Probe(config.shape.width)
        self.step = 0
        self.tokens = 0
        self.optimizers = optimizers(self.policy, self.probe, config.threads)
        if resume:
            self._load()
        else:
            if start is None:
                initialise(self.policy, config.seed)
            else:
                self.policy.load_state_dict(load_policy(start).state_dict())
            (folder / "checkpoint.pt").unlink(missing_ok=True)
        self._keep_metrics()
        self.tokenizer.save(str(path))
        with whole_file(folder / "config.json") as part:
            part.write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")

    def _load(self) -> None:
        state = read_checkpoint(self.folder / "checkpoint.pt")
        # A setting that the checkpoint does not know had its default's effect.
        if asdict(Config()) | json.loads(state["config"]) != json.loads(json.dumps(asdict(self.config))):
            raise CheckpointError(
                "the checkpoint belongs to a run with other settings; give the same ones or choose another folder"
            )
        self.policy.load_state_dict(state["policy"])
        self.probe.load_state_dict(state["probe"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.tokens = state["step"], state["tokens"]

    def _keep_metrics(self) -> None:
        """Drop the metrics of steps that will be taken again."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        kept = (line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= self.step)
        with whole_file(path) as part:
            part.write_text("".join(kept), encoding="utf-8")

    def _record(self, row: dict[str, Any]) -> None:
        path = self.folder / "metrics.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error

    def save(self) -> None:
        """Write the checkpoint; a run that dies while writing leaves the one before. Raises `StorageError`."""
        state = {
            "policy": self.policy.state_dict(),
            "probe": self.probe.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "tokens": self.tokens,
            "config": json.dumps(asdict(self.config)),
        }
        write_checkpoint(self.folder / "checkpoint.pt", state)

    def train_step(self) -> float:
        """One optimiser step; everything about it follows from the seed and the step's number. Returns the loss. Raises
        `DivergedError` before weights are touched."""
        schedule = self.config.schedule()
        rng = Random(f"{self.config.seed}/{self.step}")
        rows = make_load(
            rng,
            self.tokenizer,
            schedule.load(self.step, rng),
            "train",
            ordinary=schedule.ordinary(self.step),
            families=self.config.families,
            direct=self.config.direct,
        )
        loss = self.fit(rows, schedule.rate(self.step), self.config.labels)
        self.step += 1
        self.tokens += sum(len(row.prompt) + len(row.target) for row in rows)
        return loss

    def fit(self, rows: Sequence[Row], rate: float, labels: float = 0.0) -> float:
        """One update at learning rate `rate`, the chunks' labels weighing `labels`; returns the replies' loss before
        it. Raises `DivergedError`, before it, for a loss or a gradient that is no number."""
        parts = shares(rows, self.config.threads)
        batches = [batch for part in parts for batch in part]
        total = torch.stack([batch.weights[:, 1:].sum() for batch in batches]).sum()
        labelled = sum(int((batch.labels[..., 0] >= 0).sum()) for batch in batches)
        stated = sum(int((batch.values > 0).sum()) for batch in batches)
        share = (labels / max(1, labelled), labels / max(1, stated))
        losses = list(self.workers.map(lambda part: self._backward(part, total, share), parts))
        norm = float(torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0))
        if not math.isfinite(norm + sum(losses)):
            raise DivergedError(
                f"loss {sum(losses)} and gradient norm {norm} at step {self.step + 1}: {self.folder} keeps the last "
                "checkpoint; begin anew with a lower rate or another seed"
            )
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        list(self.workers.map(_apply, self.optimizers))
        return sum(losses)

    def _backward(self, part: Sequence[Batch], total: torch.Tensor, share: tuple[float, float]) -> float:
        """Adds the gradient of the replies' loss and of the labels' (bits and values, times `share`) to the
        weights'."""
        replies, told = torch.zeros(()), torch.zeros(())
        # Threads share autocast's cache of weights, and one that ends empties it for all: what was summed in bfloat16
        # would depend on who is first.
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16_units(), cache_enabled=False):
            for batch in part:
                states: list[torch.Tensor] = []
                hidden = self.policy.hidden(batch.tokens, between=states)
                replies = replies + _reply_loss(self.policy, hidden, batch, total)
                told = told + share[0] * self.probe.loss(states[-2], batch.labels)
                told = told + share[1] * _value_loss(self.policy, states[-2], batch.values)
        # Two addends have one sum in either order, so with two threads the gradient does not depend on who is first.
        (replies + told).backward()  # type: ignore[no-untyped-call]
        return float(replies.detach())

    def train(self, until: int | None = None, stopped: Callable[[], bool] = lambda: False) -> Iterator[dict[str, Any]]:
        """Train to step `until` (default: `config.steps`), yielding each metrics row after writing it.

        stopped: asked after every step; when it says yes, the checkpoint is written and training ends early. Raises
        `DivergedError` and `StorageError`; the last checkpoint is then still there.
        """
        end = self.config.steps if until is None else min(until, self.config.steps)
        smooth, began, first = math.nan, time.monotonic(), self.step
        while self.step < end:
            loss = self.train_step()
            smooth = loss if math.isnan(smooth) else 0.96 * smooth + 0.04 * loss
            row: dict[str, Any] | None = None
            if self.step % self.config.report_every == 0 or self.step == end:
                spent = time.monotonic() - began
                row = {"step": self.step, "tokens": self.tokens, "loss": round(smooth, 4), "seconds": round(spent, 1)}
                row["eta_minutes"] = round(spent / (self.step - first) * (end - self.step) / 60, 1)
            if row is not None and (self.step % self.config.validate_every == 0 or self.step == end):
                begun = [chunk for chunk, share in self.config.stages if share <= self.step / self.config.steps]
                chunk = begun[-1]
                mix = (self.config.ordinary, self.config.families, self.config.direct)
                row["validation"] = validate(self.policy, self.tokenizer, chunk, "train", 20, *mix)
                row["validation_chunk"] = chunk
            if self.step % self.config.checkpoint_every == 0 or self.step == end:
                self.save()
            if row is not None:
                self._record(row)
                yield row
            if self.step < end and stopped():
                self.save()
                return
