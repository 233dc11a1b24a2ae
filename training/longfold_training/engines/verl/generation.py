"""verl's inference servers as an engine of the agent: token ids in, token ids out. Knows no rollouts and no rewards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

from longfold_agent.engines.gather import gather
from longfold_agent.errors import EngineRejected, EngineUnavailable
from longfold_agent.protocols import Delta, Request
from longfold_agent.types import Completion
from longfold_training.engines.encoding import check_room, completion, encode


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
        prompt = await asyncio.to_thread(encode, self._tokenizer, request)
        check_room(prompt, sampling, self._window)
        told: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "stop_token_ids": list(dict.fromkeys((*self._stops, *sampling.stop_token_ids))),
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
        return await asyncio.to_thread(completion, self._tokenizer, sampling, self._stops, prompt, ids, reply.log_probs)
