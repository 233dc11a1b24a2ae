"""The OpenAI-compatible wire format as vLLM speaks it: request bodies, replies, streams and errors. Knows no HTTP
client and no retries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from longfold_agent.errors import (
    ContextOverflow,
    EngineError,
    EngineOverloaded,
    EngineProtocolError,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
)
from longfold_agent.protocols import Request
from longfold_agent.types import Completion, Usage

_OVERFLOW_PARAMS = ("input_tokens", "input_text")
_OVERFLOW = re.compile(
    r"maximum context length|context[_ ]length[_ ]exceeded|longer than the maximum model length", re.I
)
_WINDOW = re.compile(r"(?:maximum context length is|maximum model length of)\s+(\d+)", re.I)
_PROMPT_TOKENS = re.compile(
    r"contains\s+(?:at least\s+)?(\d+)\s+(?:input )?tokens|(\d+) in the (?:messages|prompt)", re.I
)
_CUT = frozenset(("repetition", "content_filter"))
"""Finish reasons of replies that the server ended in the middle for another cause than their length."""
_QUOTE = 16
"""Characters of a prompt in a row that count as quoting it."""


def path(request: Request) -> str:
    """Where the request is posted to, below the base URL."""
    return "/v1/completions" if request.prompt.text is not None else "/v1/chat/completions"


def body(request: Request, model: str, *, stream: bool) -> bytes:
    """The JSON body of one request."""
    prompt, sampling = request.prompt, request.sampling
    fields: dict[str, Any] = dict(sampling.extra)
    fields["model"] = model
    if prompt.text is not None:
        fields["prompt"] = prompt.text
    else:
        fields["messages"] = [{"role": message.role, "content": message.content} for message in prompt.messages]
    fields["max_tokens"] = sampling.max_tokens
    fields["temperature"] = sampling.temperature
    fields["top_p"] = sampling.top_p
    if sampling.seed is not None:
        fields["seed"] = sampling.seed
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.stop_token_ids:
        fields["stop_token_ids"] = list(sampling.stop_token_ids)
    if sampling.logit_bias:
        fields["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    if request.want_ids:
        fields["return_token_ids"] = True
        fields["logprobs"] = 1 if prompt.text is not None else True
    if stream:
        fields["stream"] = True
        fields["stream_options"] = {"include_usage": True}
    try:
        return json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8; as an escape it travels
        return json.dumps(fields).encode()


class Reply:
    """Collects one reply, whole or from the chunks of a stream. `where` names the endpoint in errors.

    Raises `EngineProtocolError` for whatever is not a finished reply, `EngineUnavailable` where the engine aborted it.
    """

    def __init__(self, request: Request, where: str) -> None:
        self._request = request
        self._where = where
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._prompt: tuple[int, ...] = ()
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._usage = Usage()
        self._finish: str | None = None
        self._stop: int | str | None = None

    def add(self, data: bytes) -> str:
        """One JSON object: a whole reply or a stream's chunk. Returns the text it adds."""
        try:
            payload = json.loads(data)
            if isinstance(payload, dict) and payload.get("error"):
                raise self._error(payload)
            choices = payload["choices"]
            if payload.get("usage"):
                self._usage = _usage(payload["usage"])
            if self._request.want_ids:  # vLLM tells a prompt's ids beside the choices of a chat, inside a completion's
                told = payload.get("prompt_token_ids") or (choices and choices[0].get("prompt_token_ids"))
                self._prompt = tuple(told or self._prompt)
            return self._choice(choices[0]) if choices else ""
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise EngineProtocolError(
                f"{self._where}: a reply that is no completion ({type(error).__name__})"
            ) from None

    def completion(self) -> Completion:
        """The finished reply."""
        if self._finish is None:
            raise EngineProtocolError(f"{self._where}: a reply without finish_reason")
        if self._finish == "abort":
            raise EngineUnavailable(f"{self._where}: the engine aborted the request")
        if self._finish == "error":
            raise EngineProtocolError(f"{self._where}: the engine ended the reply with an error")
        if self._request.want_ids and len(self._ids) != len(self._logprobs):
            raise EngineProtocolError(f"{self._where}: {len(self._ids)} token ids but {len(self._logprobs)} logprobs")
        return Completion(
            text="".join(self._text),
            finish_reason="length" if self._finish in _CUT else self._finish,
            usage=self._usage,
            reasoning="".join(self._reasoning),
            stop_reason=self._stop,
            token_ids=tuple(self._ids),
            logprobs=tuple(self._logprobs),
            prompt_ids=self._prompt,
        )

    def _choice(self, choice: Mapping[str, Any]) -> str:
        message = choice.get("delta") or choice.get("message") or choice
        text = message.get("text" if message is choice else "content") or ""
        self._text.append(str(text))
        self._reasoning.append(str(message.get("reasoning") or message.get("reasoning_content") or ""))
        if choice.get("finish_reason") is not None:
            self._finish = str(choice["finish_reason"])
            self._stop = choice.get("stop_reason")
        if self._request.want_ids:
            self._ids += choice.get("token_ids") or ()
            logprobs = choice.get("logprobs") or {}
            self._logprobs += logprobs.get("token_logprobs") or ()
            self._logprobs += [token["logprob"] for token in logprobs.get("content") or ()]
        return str(text)

    def _error(self, payload: Mapping[str, Any]) -> EngineError:
        message, param = _message(payload)
        if param in _OVERFLOW_PARAMS or _OVERFLOW.search(message):
            return _overflow(message, self._where)
        return EngineProtocolError(f"{self._where}: an error instead of a reply{_quoted(message, self._request)}")


def error(
    status: int, data: bytes, retry_after: str | None, where: str, now: float, request: Request | None
) -> EngineError:
    """The exception for a status other than 200.

    data: the body; retry_after: that header; where: names the endpoint; now: wall clock, seconds since the epoch. The
    message never repeats the prompt, though the server's may.
    """
    try:
        payload = json.loads(data)
    except ValueError:
        payload = {}
    message, param = _message(payload)
    said = f"{where}: HTTP {status}{_quoted(message, request)}"
    if status in (400, 413, 422) and (param in _OVERFLOW_PARAMS or _OVERFLOW.search(message)):
        return _overflow(message, where)
    if status in (429, 503):
        return EngineOverloaded(said, retry_after=_seconds(retry_after, now))
    if status in (408, 504):
        return EngineTimeout(said)
    if status >= 500:
        return EngineUnavailable(said)
    return EngineRejected(said)


def served_models(data: bytes, where: str) -> dict[str, int | None]:
    """Model name -> max_model_len in tokens (None where the server does not tell) out of a reply to GET /v1/models."""
    try:
        return {str(card["id"]): card.get("max_model_len") for card in json.loads(data)["data"]}
    except (ValueError, LookupError, TypeError, AttributeError):
        raise EngineProtocolError(f"{where}: /v1/models gave no list of models") from None


def _usage(fields: Mapping[str, Any]) -> Usage:
    details = fields.get("prompt_tokens_details") or {}
    return Usage(
        int(fields.get("prompt_tokens") or 0),
        int(fields.get("completion_tokens") or 0),
        int(details.get("cached_tokens") or 0),
    )


def _message(payload: Any) -> tuple[str, str]:
    """Message and parameter of an error body in any of the shapes in use: an object, a string, FastAPI's detail."""
    found = payload.get("error", payload) if isinstance(payload, dict) else payload
    if isinstance(found, dict):
        return str(found.get("message") or found.get("detail") or ""), str(found.get("param") or "")
    return (found if isinstance(found, str) else ""), ""


def _overflow(message: str, where: str) -> ContextOverflow:
    window, prompt = _WINDOW.search(message), _PROMPT_TOKENS.search(message)
    prompt_tokens = int(prompt[1] or prompt[2]) if prompt else None
    size = int(window[1]) if window else None
    numbers = f": {prompt_tokens if prompt_tokens is not None else 'too many'} tokens, window {size}" if size else ""
    return ContextOverflow(f"{where}: the prompt is longer than the window{numbers}", prompt_tokens, size)


def _quoted(message: str, request: Request | None) -> str:
    """The server's message for our own, unless it quotes the prompt."""
    line = " ".join(message.split())[:300]
    if not line or request is None:
        return f" ({line})" if line else ""
    prompt = request.prompt
    for text in (prompt.text,) if prompt.text is not None else (message.content for message in prompt.messages):
        plain = " ".join(text.split())
        size = min(_QUOTE, len(plain))
        if size and any(line[at : at + size] in plain for at in range(len(line) - size + 1)):
            return ""
    return f" ({line})"


def _seconds(retry_after: str | None, now: float) -> float | None:
    """Retry-After as seconds (RFC 9110, 10.2.3): a number or a date."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except (ValueError, OverflowError):
        return None
