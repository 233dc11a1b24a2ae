"""The vocabulary of the agent: plain frozen values that every other module speaks. Knows no prompt text, no I/O, no
model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: str
    """"system", "user" or "assistant"."""
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one completion is sampled. Field names are those of the OpenAI-compatible API."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Token id -> additive bias; the demo profile's KEEP gate is tuned by it."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Engine-specific request fields, passed through as they are (e.g. `skip_special_tokens`,
    `chat_template_kwargs`)."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an engine completes: either raw `text` or chat `messages`, never both."""

    text: str | None = None
    messages: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        if (self.text is None) == (not self.messages):
            raise ValueError("a prompt holds either raw text or messages")


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the engine reports them; usages add up."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished reply of an engine."""

    text: str
    finish_reason: str
    """"stop" for a whole reply, "length" for one that broke off."""
    usage: Usage = Usage()
    reasoning: str = ""
    """A thinking model's reasoning when the server separates it; never part of `text`."""
    stop_reason: int | str | None = None
    """The stop token id or stop string that ended the reply, where the engine tells."""
    token_ids: tuple[int, ...] = ()
    """The sampled ids, when asked for (rollouts)."""
    logprobs: tuple[float, ...] = ()
    """Natural-log probability of each sampled id, when asked for."""
    prompt_ids: tuple[int, ...] = ()
    """The prompt's ids as the engine saw them, chat template and all, when asked for."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place between two characters of the ordered documents of one job."""

    document: int = 0
    """Zero-based index of the document."""
    char: int = 0
    """Offset in characters of the document's canonical text."""
    byte: int = 0
    """The same place as an offset in UTF-8 bytes, so that a reader can seek."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of one document's canonical text, `text == document[start.char:end.char]`."""

    index: int
    """Zero-based over all documents of the job."""
    start: Position
    end: Position
    """Same document as `start`."""
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Query:
    """A user's question, decomposed (paper 2.3): `core` is q_core, `instructions` is q_inst."""

    core: str
    instructions: str = ""
    """Formatting instructions (or answer options); they reach the answer call only."""


class CallKind(StrEnum):
    READ = "read"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Call:
    """What a reader wants to know next. It names WHAT to read; the profile renders it to a prompt."""

    id: str
    """Structural: `read/17`, its retry `read/17/a1`, the same chunk once more `read/17/r1`, `answer`; equal in every
    rollout and after every restart."""
    kind: CallKind
    question: str
    memory: str
    plan: str
    chunk: int | None = None
    """Index of the chunk to read; None for the answer."""
    instructions: str = ""
    """Only ever non-empty on the answer's call (Eq. 6)."""
    attempt: int = 0


class UpdateKind(StrEnum):
    REWRITE = "rewrite"
    KEEP = "keep"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Update:
    """The parsed reply to a read call."""

    kind: UpdateKind
    memory: str = ""
    """New memory (REWRITE only)."""
    plan: str = ""
    """New plan (REWRITE only)."""
    reason: str = ""
    """Why a reply is INVALID, in a few words: "empty", "cut by the output limit", "memory over budget", ..."""
    again: bool = False
    """REWRITE only: there may be more in the same chunk, or the new plan looks for something else, so it is to be read
    once more."""


@dataclass(frozen=True, slots=True)
class EndOfText:
    """Reply to a read call whose chunk does not exist: the documents end before it."""


@dataclass(frozen=True, slots=True)
class FinalText:
    """The parsed reply to the answer call."""

    text: str
    cut: bool = False
    """It ends where the output limit ended it."""


Reply = Update | EndOfText | FinalText


class Stop(StrEnum):
    """Why an answer is not the whole one: the reading ended before the documents did or gave nothing, or the answer
    ended before its end."""

    DEADLINE = "deadline"
    TOKENS = "tokens"
    OUTPUT = "output"
    """The answer reached the output limit."""
    INVALID = "invalid"
    """No reply of the reading could be used, so the answer knows nothing of the documents."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one accepted reply changed; enough for an event, a provenance record and a training row's key."""

    id: str
    kind: CallKind
    update: UpdateKind | None
    """None for the answer and for the end of the text."""
    chunk: int | None
    memory: str
    """Memory after the step."""
    plan: str
    """Plan after the step."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a reading."""

    text: str
    stop: Stop | None = None
    """Set when the reading was cut, so that the answer comes from what had been read, or gave nothing, or the answer
    itself was cut."""

    @property
    def partial(self) -> bool:
        return self.stop is not None
