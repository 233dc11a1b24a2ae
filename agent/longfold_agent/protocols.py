"""The seams: Reader (a reading mode), Profile (wording, parsing, budgets), Engine (completions), Tokens (counting). No
implementations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Protocol, Self, runtime_checkable

from longfold_agent.types import Answer, Call, Completion, Prompt, Query, Reply, Sampling, Step, Stop


class Reader(Protocol):
    """A sans-IO reading mode: immutable, small, JSON round trip; never holds document text, prompts or turns."""

    mode: ClassVar[str]

    @property
    def answer(self) -> Answer | None: ...

    def pending(self) -> tuple[Call, ...]:
        """The open generation's calls, in canonical order; empty when done. `Fold` always has exactly one."""
        ...

    def advance(self, call_id: str, reply: Reply) -> tuple[Self, Step | None]:
        """Take the reply to one pending call. A duplicate or stale id changes nothing and gives `None`."""
        ...

    def cut(self, why: Stop) -> Self:
        """End the reading now; what is pending next is the answer from what has been committed."""
        ...


@dataclass(frozen=True, slots=True)
class Budgets:
    """Token budgets of a profile, in tokens of the served model."""

    chunk: int
    """Largest chunk given to one read call."""
    memory: int
    """Largest memory; a reply beyond it is INVALID."""
    plan: int
    """Largest plan; a longer one is INVALID."""
    read_output: int
    """max_tokens of a read call (reasoning included)."""
    answer_output: int
    """max_tokens of the answer call (reasoning included)."""
    retries: int = 1
    """How often an INVALID reply is asked again before the step becomes KEEP."""
    direct: int | None = None
    """Most tokens of documents for a single pass, where a model knows it for less than its window; None for what the
    window holds."""

    def identity(self) -> dict[str, int | None]:
        """What a profile's version is made of: a single pass without a limit of its own changes nothing."""
        return {name: number for name, number in asdict(self).items() if name != "direct" or number}


class Tokens(Protocol):
    """Counts and cuts text in tokens of one model."""

    @property
    def name(self) -> str:
        """Stable identity (hash of the tokenizer file); part of a job's chunk plan."""
        ...

    def count(self, text: str) -> int: ...

    def fit(self, text: str, budget: int) -> int:
        """Number of leading CHARACTERS of `text` whose encoding takes at most `budget` tokens."""
        ...


class Profile(Protocol):
    """Everything that depends on how a model was trained to be asked: wording, layout, parser, sampling, budgets."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Hash over name, wording, parser settings and budgets; a reader refuses to resume under another."""
        ...

    @property
    def budgets(self) -> Budgets: ...

    @property
    def gate(self) -> bool:
        """Whether the model may KEEP."""
        ...

    @property
    def notice(self) -> str:
        """What a user must know about answers under this profile; "" for none. Shown in the answer's metadata."""
        ...

    def decompose(self, question: str) -> Query | tuple[Prompt, Sampling]:
        """Either the decomposition itself (a rule) or the call that makes it."""
        ...

    def parse_decomposition(self, question: str, completion: Completion) -> Query:
        """Raises `InvalidReply` when the reply cannot be used; the caller then takes the question as it is."""
        ...

    def render(self, call: Call, text: str = "") -> Prompt:
        """Prompt of a read call (`text` = the chunk's text, neutralised inside) or of the answer call (`text`
        unused)."""
        ...

    def render_direct(self, query: Query, documents: Sequence[tuple[str, str]]) -> Prompt:
        """Prompt of the single pass over (title, text) documents. Raises `Unsupported` where the profile has none."""
        ...

    def sampling(self, call: Call) -> Sampling: ...

    def sampling_direct(self, attempt: int = 0) -> Sampling:
        """Of the single pass; `attempt` counts what was asked before and could not be used, as `Call.attempt` does."""
        ...

    def parse(self, call: Call, completion: Completion, text: str, tokens: Tokens) -> Reply:
        """Read: an `Update` (REWRITE, KEEP or INVALID, never an exception). Answer: `FinalText` (raises `InvalidReply`
        if empty)."""
        ...

    def parse_direct(self, completion: Completion, query: Query, documents: Sequence[tuple[str, str]]) -> str:
        """The answer of the single pass that `render_direct` asked for. Raises `InvalidReply` when nothing was said."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One completion asked of an engine."""

    prompt: Prompt
    sampling: Sampling
    affinity: str = ""
    """Calls with the same affinity (a document) should meet the same replica's prefix cache."""
    headers: Mapping[str, str] = field(default_factory=dict)
    want_ids: bool = False
    """Ask for sampled token ids and logprobs (rollouts)."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed reply; the last one carries the whole `completion`."""

    text: str = ""
    completion: Completion | None = None


class Engine(Protocol):
    """Completes prompts. Cancelling the awaiting task drops the request."""

    async def complete(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions in the order of the requests, run concurrently. Raises an `EngineError`."""
        ...

    def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Deltas of one reply. Raises an `EngineError`."""
        ...

    async def window(self) -> int:
        """The served context window (max_model_len), in tokens."""
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Reachable(Protocol):
    """An `Engine` that may be away although its window is known."""

    async def reach(self) -> None:
        """Asks whether the engine is there; an answer is good for some seconds. Raises an `EngineError`."""
        ...
