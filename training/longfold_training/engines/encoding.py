"""Requests as token ids, and token ids as completions, both as a vLLM server has them. Knows no model and no server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longfold_agent.errors import ContextOverflow
from longfold_agent.protocols import Request
from longfold_agent.types import Completion, Sampling, Usage


def encode(tokenizer: Any, request: Request) -> list[int]:
    """The prompt's ids: of raw text, or of messages through the model's chat template."""
    prompt = request.prompt
    if prompt.text is not None:
        return list(tokenizer(prompt.text)["input_ids"])
    messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
    told: Any = request.sampling.extra.get("chat_template_kwargs", {})
    return list(
        tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False, **told)
    )


def check_room(prompt: Sequence[int], sampling: Sampling, window: int) -> None:
    """Raises `ContextOverflow` for an empty prompt, and for one that leaves no room for its reply in the window."""
    if not prompt or len(prompt) + sampling.max_tokens > window:
        raise ContextOverflow(
            f"{len(prompt)} prompt tokens and {sampling.max_tokens} for the reply do not fit {window}",
            len(prompt),
            window,
        )


def completion(
    tokenizer: Any,
    sampling: Sampling,
    stops: Sequence[int],
    prompt: Sequence[int],
    tokens: Sequence[int],
    logprobs: Sequence[float],
) -> Completion:
    """A reply of at least one token: the stop token among the ids and not in the text, its id as the reason unless it
    is the model's own end of sequence, the first of `stops`."""
    last = tokens[-1]
    ended = last in stops or last in sampling.stop_token_ids
    skip = bool(sampling.extra.get("skip_special_tokens", True))
    return Completion(
        tokenizer.decode(list(tokens[:-1] if ended else tokens), skip_special_tokens=skip),
        "stop" if ended else "length",
        Usage(len(prompt), len(tokens)),
        stop_reason=last if ended and last not in stops[:1] else None,
        token_ids=tuple(tokens),
        logprobs=tuple(logprobs),
        prompt_ids=tuple(prompt),
    )


def stops(folder: Path) -> tuple[int, ...]:
    """Ids that end a reply of a policy folder whatever the request says, the model's own end of sequence first."""
    found: list[int] = []
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        ids = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
        found += [] if ids is None else [ids] if isinstance(ids, int) else ids
    return tuple(dict.fromkeys(found))
