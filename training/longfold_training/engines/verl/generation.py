"""verl's inference servers as an engine of the agent: token ids in, token ids out. Knows no rollouts and no rewards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from longfold_agent.engines.gather import gather
from longfold_agent.errors import ContextOverflow, EngineRejected, EngineUnavailable
from longfold_agent.protocols import Delta, Request
from longfold_agent.types import Completion, Usage


class Generated(Protocol):
    """verl's `TokenOutput`, as far as it is used."""

    @property
    def token_ids(self) -> Sequence[int]: ...

    @property
    def log_probs(self) -> Sequence[float] | None: ...

    @property
    def extra_fields(self) -> Mapping[str, Any]: ...


class Servers(Protocol):
    """verl's `LLMServerClient`, as far as it is used."""

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]
    ) -> Generated: ...


class GenerationEngine:
    """A `longfold_agent.protocols.Engine` over verl's servers, for one attempt.

    tokenizer: Hugging Face's, the policy's own. stops: ids that end a reply whatever the request says.
    window: most tokens of prompt and reply together. affinity: calls that share it meet the same server, whose prefix
    cache then holds what they have in common.
    """

    def __init__(
        self, servers: Servers, tokenizer: Any, *, stops: Sequence[int], window: int, affinity: str = ""
    ) -> None:
        self._servers = servers
        self._tokenizer = tokenizer
        self._stops = tuple(stops)
        self._window = window
        self._affinity = affinity or uuid4().hex
        self.versions: list[int] = []
        """Step numbers of the weights that the replies came from, in the order in which they arrived."""

    async def complete(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions in the order of the requests, with ids and log-probabilities.

        A log-probability (nats) is as the server reports it: vLLM's are after temperature and top-p. The update does
        not use them; it measures its own. Raises `ContextOverflow` for a prompt that leaves no room in the window,
        `EngineRejected` for stop strings, `EngineUnavailable` for a reply that the server gave up.
        """
        return await gather([self._complete(request) for request in requests])

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """The whole reply at once."""
        (completion,) = await self.complete([request])
        yield Delta(completion.text)
        yield Delta(completion=completion)

    async def window(self) -> int:
        return self._window

    async def aclose(self) -> None:
        """The servers are verl's to close."""

    async def _complete(self, request: Request) -> Completion:
        sampling = request.sampling
        if sampling.stop:
            raise EngineRejected("verl's servers have no tokenizer and so know stop tokens, not stop strings")
        # A prompt may hold 120K tokens; the loop has other attempts to serve meanwhile.
        prompt = await asyncio.to_thread(self._encode, request)
        if not prompt or len(prompt) + sampling.max_tokens > self._window:
            raise ContextOverflow(
                f"{len(prompt)} prompt tokens and {sampling.max_tokens} for the reply do not fit {self._window}",
                len(prompt),
                self._window,
            )
        stops = (*self._stops, *sampling.stop_token_ids)
        told: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "stop_token_ids": list(dict.fromkeys(stops)),
            "logprobs": True,
        }
        if sampling.logit_bias:
            told["logit_bias"] = dict(sampling.logit_bias)
        reply = await self._servers.generate(self._affinity, prompt_ids=prompt, sampling_params=told)
        ids = tuple(reply.token_ids)
        if not ids or reply.log_probs is None:
            raise EngineUnavailable("the server gave up the reply")
        version = reply.extra_fields.get("global_steps")
        self.versions += [] if version is None else [version]
        ended = ids[-1] in stops
        spoken = ids[:-1] if ended else ids
        skip = bool(sampling.extra.get("skip_special_tokens", True))
        text: str = await asyncio.to_thread(self._tokenizer.decode, list(spoken), skip_special_tokens=skip)
        return Completion(
            text,
            "stop" if ended else "length",
            Usage(len(prompt), len(ids)),
            stop_reason=ids[-1] if ended and ids[-1] not in self._stops[:1] else None,
            token_ids=ids,
            logprobs=tuple(reply.log_probs),
            prompt_ids=tuple(prompt),
        )

    def _encode(self, request: Request) -> list[int]:
        """The prompt's ids as a server would make them: raw text, or messages through the model's chat template."""
        prompt = request.prompt
        if prompt.text is not None:
            return list(self._tokenizer(prompt.text)["input_ids"])
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        told: Any = request.sampling.extra.get("chat_template_kwargs", {})
        return list(
            self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=False, **told
            )
        )


def stops(folder: Path) -> tuple[int, ...]:
    """Ids that end a reply of a policy folder, the model's own end of sequence first."""
    found: list[int] = []
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        ids = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
        found += [] if ids is None else [ids] if isinstance(ids, int) else ids
    return tuple(dict.fromkeys(found))
