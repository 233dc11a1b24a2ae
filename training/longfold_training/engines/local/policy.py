"""A policy folder as a model that can be sampled from and trained, and back. Knows no rollouts and no loss."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.core_model_loading import revert_weight_conversion
from transformers.utils.logging import disable_progress_bar

from longfold_training.core.entropy import token_entropies, token_logprobs
from longfold_training.engines.encoding import stops
from longfold_training.errors import CheckpointError, MemoryExhausted, RecipeError, StorageError
from longfold_training.folders import whole_folder
from longfold_training.policy_folder import check_folder, name_type
from longfold_training.recipes import Lora

Precision = Literal["float32", "bfloat16"]

Exchange = tuple[tuple[int, ...], tuple[int, ...]]
"""The ids of a prompt and of a reply, each at least one."""

_LOGIT_PIECE = 1024
"""Positions whose logits exist at once; with a vocabulary of 152K in float32 they take 0.6 GB."""
_WEIGHTS = ("*.safetensors", "*.bin", "*.index.json", "*.part")


@contextmanager
def enough_memory() -> Iterator[None]:
    """Raises `MemoryExhausted` for what torch could not allocate inside, on a GPU or on the CPU."""
    try:
        yield
    except RuntimeError as error:
        # torch has a type of its own for GPUs only.
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise MemoryExhausted(
            f"the device's memory does not suffice: {str(error).splitlines()[0]}\nlower tokens_at_once; where that is "
            "not enough set precision = 'bfloat16', in training gradient_checkpointing = true and lora.rank as well, "
            "or lower limits"
        ) from error


class LocalPolicy:
    """The model, tokenizer and window of a policy folder.

    folder: Hugging Face layout, on this machine.
    device: "auto" takes a GPU where there is one.
    precision: arithmetic of the products; the weights are float32 in either case.
    lora: adapters to train in place of the weights; None or rank 0 trains all.

    Raises `CheckpointError` where the folder is missing or holds no causal language model with a tokenizer,
    `RecipeError` for device "cuda" without a GPU, `MemoryExhausted` where the weights do not fit.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Precision = "float32",
        lora: Lora | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        # A stage shows its own progress.
        disable_progress_bar()  # type: ignore[no-untyped-call]
        self.folder = folder
        self.config = check_folder(folder)
        name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        if name == "cuda" and not torch.cuda.is_available():
            raise RecipeError('device = "cuda", but torch finds no GPU')
        self.device = torch.device(name)
        self.precision = precision
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            known, words = self.config.get("vocab_size"), len(self.tokenizer)
            if known is not None and words > known:
                raise CheckpointError(
                    f"{folder} has another model's tokenizer: {words} tokens, the model knows {known}"
                )
            with enough_memory():
                model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        except CheckpointError:
            raise
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{folder} holds no policy that can be loaded: {error}") from error
        self._recomputes = gradient_checkpointing
        if gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.enable_input_require_grads()
        self._adapted: Any = None
        if lora is not None and lora.rank:
            self._adapted = _with_adapters(model, lora)
        with enough_memory():
            self.model: Any = model.to(self.device)
        self.decoder: nn.Module = model.get_decoder()
        self.head: nn.Module = model.get_output_embeddings()
        self.window: int = model.config.max_position_embeddings
        self.stops = stops(folder)
        self.pad: int = model.config.pad_token_id or 0

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """The precision of everything computed inside."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            yield

    def trainable(self) -> dict[str, nn.Parameter]:
        """What training changes, by name: all weights, or the adapters."""
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}

    def scores(self, tokens: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy (nats, at `temperature`) of the tokens that `targets` marks.

        tokens: (rows, length) ids, padded on the right, which a causal model never sees from the left.
        targets: (rows, length) bool, false at position 0.

        Returns (marked,) float32 each, row after row; the log-probability with gradient where gradients are on.
        """
        # transformers recomputes activations in training mode only, and keeps no cache then: sampling needs the other.
        self.model.train(self._recomputes and torch.is_grad_enabled())
        with self.arithmetic():
            hidden: Tensor = self.decoder(input_ids=tokens, use_cache=False).last_hidden_state
        return self._scores(hidden[:, :-1][targets[:, 1:]], tokens[targets], temperature)

    def reply_scores(self, rows: Sequence[Exchange], temperature: float) -> tuple[Tensor, Tensor]:
        """As `scores`, of the replies' tokens, reply after reply. A prompt that several replies have is read once,
        unless activations are recomputed."""
        if self._recomputes and torch.is_grad_enabled():
            tokens = self._padded([prompt + reply for prompt, reply in rows])
            begins = self._ids([len(prompt) for prompt, _ in rows])[:, None]
            ends = begins + self._ids([len(reply) for _, reply in rows])[:, None]
            columns = torch.arange(tokens.shape[1], device=self.device)
            return self.scores(tokens, (columns >= begins) & (columns < ends), temperature)
        self.model.eval()
        places: dict[tuple[int, ...], int] = {}
        owners = self._ids([places.setdefault(prompt, len(places)) for prompt, _ in rows])
        lengths = self._ids([len(prompt) for prompt in places])
        cache = DynamicCache()
        with self.arithmetic():
            read: Tensor = self.decoder(
                input_ids=self._padded(list(places)), past_key_values=cache, use_cache=True
            ).last_hidden_state
        hidden = read[torch.arange(len(places), device=self.device), lengths - 1][owners][:, None]
        counts = self._ids([len(reply) for _, reply in rows])
        longer = (counts > 1).nonzero().squeeze(-1)
        if len(longer):
            # The first token follows the prompt; only what a longer reply has behind it needs another pass.
            owners = owners[longer]
            cache.batch_select_indices(owners)
            said = self._padded([reply[:-1] for _, reply in rows if len(reply) > 1])
            columns = torch.arange(said.shape[1], device=self.device)
            seen = torch.arange(read.shape[1], device=self.device) < lengths[owners][:, None]
            with self.arithmetic():
                behind: Tensor = self.decoder(
                    input_ids=said,
                    attention_mask=torch.cat((seen, torch.ones_like(said, dtype=torch.bool)), 1).long(),
                    position_ids=lengths[owners][:, None] + columns,
                    past_key_values=cache,
                    use_cache=True,
                ).last_hidden_state
            room = behind.new_zeros(len(rows), *behind.shape[1:])
            hidden = torch.cat((hidden, room.index_copy(0, longer, behind)), 1)
        counted = torch.arange(hidden.shape[1], device=self.device) < counts[:, None]
        return self._scores(hidden[counted], self._ids([token for _, reply in rows for token in reply]), temperature)

    def _scores(self, states: Tensor, chosen: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Of the tokens `chosen` (marked,), each behind its state (marked, width)."""
        pieces = zip(torch.split(states, _LOGIT_PIECE), torch.split(chosen, _LOGIT_PIECE), strict=True)
        if torch.is_grad_enabled():
            parts = [checkpoint(self._piece, *piece, temperature, use_reentrant=False) for piece in pieces]
        else:
            parts = [self._piece(*piece, temperature) for piece in pieces]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _piece(self, states: Tensor, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        with self.arithmetic():
            logits = self.head(states)
        return token_logprobs(logits, tokens, temperature), token_entropies(logits, temperature)

    def _ids(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, device=self.device)

    def _padded(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """(rows, length) on the device, padded on the right."""
        return nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in rows], batch_first=True, padding_value=self.pad
        ).to(self.device)

    def save(self, folder: Path) -> Path:
        """Write the policy as float32, adapters merged, with every other file of the folder it came from.

        The folder appears whole or not at all. With adapters the model cannot be trained on afterwards. Raises
        `StorageError` when it cannot be written.
        """
        return write_policy(folder, self.weights(), like=self.folder, dtype=torch.float32)

    def weights(self) -> dict[str, Tensor]:
        """All weights by the name under which the folder stores them, on the CPU, tied ones once. With adapters, see
        `save`."""
        model = self.model if self._adapted is None else self._adapted.merge_and_unload()
        loaded = {name: weight.detach().cpu() for name, weight in model.named_parameters()}
        # The experts of a mixture are one tensor in memory, of which each becomes a piece that is written alone.
        stored: dict[str, Tensor] = revert_weight_conversion(model, loaded)
        return {
            name: weight if weight.untyped_storage().nbytes() == weight.nbytes else weight.clone()
            for name, weight in stored.items()
        }


def write_policy(folder: Path, weights: dict[str, Tensor], *, like: Path, dtype: torch.dtype) -> Path:
    """A policy folder with `weights` cast to `dtype`, and configuration, tokenizer and all else copied from `like`.

    It appears whole or not at all, in place of one that stood there. Raises `StorageError`.
    """
    with whole_folder(folder) as part:
        for file in like.iterdir():
            if file.is_file() and not any(file.match(pattern) for pattern in _WEIGHTS):
                shutil.copyfile(file, part / file.name)
        name_type(part, str(dtype).removeprefix("torch."))
        cast = {name: weight.to(dtype).contiguous() for name, weight in weights.items()}
        try:
            save_torch_state_dict(cast, part, max_shard_size="4GB")
        except SafetensorError as error:
            # Its own error for what the file system refuses.
            raise StorageError(f"cannot write the policy {folder}: {error}") from error
    return folder


def _with_adapters(model: Any, lora: Lora) -> Any:
    peft = import_module("peft")
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.targets), task_type="CAUSAL_LM", lora_dropout=0.0
    )
    try:
        return peft.get_peft_model(model, config)
    except ValueError as error:
        raise CheckpointError(f"the policy has no layers for these adapters: {error}") from error
