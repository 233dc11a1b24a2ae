"""The fold: one reading of ordered chunks for one question, as an immutable state machine (paper 2.3, Eq. 5 and 6).

It says what to ask next and takes the reply. It does not know prompts, engines, tokenizers, documents or clocks, and it
never waits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, Self, TypeVar

from longfold_agent.errors import InvalidReply, ResumeRefused
from longfold_agent.types import (
    Answer,
    Call,
    CallKind,
    EndOfText,
    FinalText,
    Query,
    Reply,
    Step,
    Stop,
    Update,
    UpdateKind,
)

_E = TypeVar("_E", bound=StrEnum)

FORMAT = 2
"""Version of the saved JSON; a state of another version is refused, since a guess could lose or repeat a chunk."""
REREADS = 16
"""Most times that a chunk is read again, so that every reading ends."""


class Phase(StrEnum):
    READING = "reading"
    ANSWERING = "answering"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Fold:
    """State after some committed replies: (m_t, p_t) and the cursor t. Bounded by the memory's and the plan's budgets.

    Exactly one call is pending until the fold is done, so every accepted reply is one step and one commit. `profile`,
    `tokens` and `chunk_budget` are only carried: they tell whether a saved state may be continued (`from_json`).
    """

    mode: ClassVar[str] = "fold"

    query: Query
    profile: str
    """Version of the prompt profile whose parser read the replies so far."""
    tokens: str
    """Name of the tokenizer that cut the chunks."""
    chunk_budget: int
    """Tokens a chunk; together with `tokens` it fixes where chunk n begins."""
    retries: int = 1
    """How often an INVALID reply is asked again before its step is given up."""
    phase: Phase = Phase.READING
    next_chunk: int = 0
    """The cursor: index of the chunk to read next, equal to the number of chunks read."""
    attempt: int = 0
    """Attempts already spent on the pending call."""
    rereads: int = 0
    """How often the pending chunk has been read with a reply that asked for it once more (`Update.again`)."""
    memory: str = ""
    plan: str = ""
    invalid: int = 0
    """Chunks whose every attempt was INVALID: they were read, and changed nothing."""
    stop: Stop | None = None
    """Why reading was cut, or why its answer is not whole; None when neither is so."""
    answer: Answer | None = None

    @classmethod
    def start(cls, query: Query, *, profile: str, tokens: str, chunk_budget: int, retries: int = 1) -> Self:
        """An unread fold. `profile` is `Profile.version`, `tokens` is `Tokens.name`. Raises ValueError for a budget
        below 1 or negative retries."""
        if chunk_budget < 1 or retries < 0:
            raise ValueError(
                f"chunk_budget must be at least 1 and retries at least 0, got {chunk_budget} and {retries}"
            )
        return cls(query, profile, tokens, chunk_budget, retries)

    @property
    def done(self) -> bool:
        return self.phase is Phase.DONE

    @property
    def chunks_read(self) -> int:
        return self.next_chunk

    def pending(self) -> tuple[Call, ...]:
        """The one open call: Eq. 5 while reading, then Eq. 6, then nothing. q_inst is given to the answer's call
        alone."""
        retry = f"/a{self.attempt}" if self.attempt else ""
        if self.phase is Phase.READING:
            again = f"/r{self.rereads}" if self.rereads else ""
            name = f"read/{self.next_chunk}{again}{retry}"
            return (
                Call(name, CallKind.READ, self.query.core, self.memory, self.plan, self.next_chunk, "", self.attempt),
            )
        if self.phase is Phase.ANSWERING:
            name, told = f"answer{retry}", self.query.instructions
            return (Call(name, CallKind.ANSWER, self.query.core, self.memory, self.plan, None, told, self.attempt),)
        return ()

    def advance(self, call_id: str, reply: Reply) -> tuple[Self, Step | None]:
        """The state after `reply`, and what it changed. A duplicate or stale `call_id` gives `(self, None)`.

        A read takes an `Update` or `EndOfText`, the answer takes a `FinalText`, or an INVALID `Update` to be asked
        again. Raises TypeError for a reply of the wrong kind, and `InvalidReply` when the answer's last attempt is
        INVALID too: the state is then unchanged and its owner decides.
        """
        call = next((call for call in self.pending() if call.id == call_id), None)
        if call is None:
            return self, None
        if call.kind is CallKind.READ:
            return self._read(call, reply)
        return self._answer(call, reply)

    def cut(self, why: Stop) -> Self:
        """Stop reading: the answer is pending, from what is committed. Once the documents have been read to their end,
        or the fold was cut before, there is nothing left to cut and the state stays as it is."""
        if self.phase is not Phase.READING:
            return self
        return replace(self, phase=Phase.ANSWERING, attempt=0, rereads=0, stop=why)

    def _read(self, call: Call, reply: Reply) -> tuple[Self, Step]:
        match reply:
            case EndOfText():
                after = replace(self, phase=Phase.ANSWERING, attempt=0, rereads=0)
                return after, Step(call.id, call.kind, None, None, self.memory, self.plan)
            case Update(kind=UpdateKind.REWRITE, memory=memory, plan=plan) if memory.strip():
                if reply.again and self.rereads < REREADS:
                    after = replace(self, rereads=self.rereads + 1, attempt=0, memory=memory, plan=plan)
                else:
                    after = replace(self._after_chunk(), memory=memory, plan=plan)
                return after, Step(call.id, call.kind, UpdateKind.REWRITE, call.chunk, memory, plan, reply.reason)
            case Update(kind=UpdateKind.KEEP):
                return self._after_chunk(), Step(
                    call.id, call.kind, UpdateKind.KEEP, call.chunk, self.memory, self.plan, reply.reason
                )
            case Update():
                # An empty memory would silently forget everything read so far, whatever the parser made of the reply.
                reason = reply.reason if reply.kind is UpdateKind.INVALID else "empty memory"
                if self.attempt < self.retries:
                    after = replace(self, attempt=self.attempt + 1)
                else:
                    after = replace(self._after_chunk(), invalid=self.invalid + 1)
                return after, Step(call.id, call.kind, UpdateKind.INVALID, call.chunk, self.memory, self.plan, reason)
            case _:
                raise TypeError(f"{call.id} takes an Update or EndOfText, not {type(reply).__name__}")

    def _after_chunk(self) -> Self:
        return replace(self, next_chunk=self.next_chunk + 1, attempt=0, rereads=0)

    def _answer(self, call: Call, reply: Reply) -> tuple[Self, Step]:
        match reply:
            case FinalText(text=text):
                stop = self.stop or self._unread() or (Stop.OUTPUT if reply.cut else None)
                after = replace(self, phase=Phase.DONE, attempt=0, stop=stop, answer=Answer(text, stop))
                return after, Step(call.id, call.kind, None, None, self.memory, self.plan)
            case Update(kind=UpdateKind.INVALID, reason=reason):
                if self.attempt >= self.retries:
                    raise InvalidReply(f"no usable answer in {self.attempt + 1} attempts: {reason or 'invalid reply'}")
                after = replace(self, attempt=self.attempt + 1)
                return after, Step(call.id, call.kind, UpdateKind.INVALID, None, self.memory, self.plan, reason)
            case _:
                raise TypeError(f"{call.id} takes a FinalText or an INVALID Update, not {type(reply).__name__}")

    def _unread(self) -> Stop | None:
        # A chunk that is read once more may have given something before its reply could not be used.
        return Stop.INVALID if 0 < self.invalid == self.next_chunk and not self.memory else None

    def to_json(self) -> str:
        """One line of ASCII JSON (so that any text survives any store); `from_json` gives the equal fold back."""
        state = {
            "mode": self.mode,
            "format": FORMAT,
            "core": self.query.core,
            "instructions": self.query.instructions,
            "profile": self.profile,
            "tokens": self.tokens,
            "chunk_budget": self.chunk_budget,
            "retries": self.retries,
            "phase": self.phase,
            "next_chunk": self.next_chunk,
            "attempt": self.attempt,
            "rereads": self.rereads,
            "memory": self.memory,
            "plan": self.plan,
            "invalid": self.invalid,
            "stop": self.stop,
            "answer": None if self.answer is None else self.answer.text,
        }
        return json.dumps(state, separators=(",", ":"))

    @classmethod
    def from_json(cls, saved: str, *, profile: str, tokens: str, chunk_budget: int) -> Self:
        """The saved fold, to be continued under the given profile version, tokenizer name and chunk budget.

        Raises `ResumeRefused` when one of the three differs (the chunks or the parser would be others than those that
        made the state) or when `saved` is not a whole, consistent state.
        """
        fields = _Fields.parse(saved)
        if fields.text("mode") != cls.mode or fields.number("format") != FORMAT:
            raise ResumeRefused(f"not a saved {cls.mode} of format {FORMAT}")
        for name, wanted in (("profile", profile), ("tokens", tokens), ("chunk_budget", chunk_budget)):
            if fields.values.get(name) != wanted:
                raise ResumeRefused(
                    f"the saved state has {name} {fields.values.get(name)!r}, this reading has {wanted!r}"
                )
        phase, stop = (
            fields.choice("phase", Phase),
            fields.choice("stop", Stop) if fields.values.get("stop") is not None else None,
        )
        if (phase is Phase.DONE) != (fields.values.get("answer") is not None) or (
            phase is Phase.READING and stop is not None
        ):
            raise ResumeRefused(f"the saved state contradicts itself: phase {phase}")
        if fields.number("chunk_budget") < 1 or fields.number("attempt") > (
            0 if phase is Phase.DONE else fields.number("retries")
        ):
            raise ResumeRefused("the saved state contradicts itself: chunk_budget or attempt")
        if fields.number("rereads") > (REREADS if phase is Phase.READING else 0):
            raise ResumeRefused("the saved state contradicts itself: rereads")
        return cls(
            query=Query(fields.text("core"), fields.text("instructions")),
            profile=fields.text("profile"),
            tokens=fields.text("tokens"),
            chunk_budget=fields.number("chunk_budget"),
            retries=fields.number("retries"),
            phase=phase,
            next_chunk=fields.number("next_chunk"),
            attempt=fields.number("attempt"),
            rereads=fields.number("rereads"),
            memory=fields.text("memory"),
            plan=fields.text("plan"),
            invalid=fields.number("invalid"),
            stop=stop,
            answer=Answer(fields.text("answer"), stop) if phase is Phase.DONE else None,
        )


@dataclass(frozen=True, slots=True)
class _Fields:
    """The values of a saved state, each checked as it is taken."""

    values: dict[str, object]

    @classmethod
    def parse(cls, saved: str) -> _Fields:
        try:
            values = json.loads(saved)
        except (ValueError, TypeError, RecursionError) as error:
            raise ResumeRefused(f"the saved state is not JSON: {type(error).__name__}") from error
        if not isinstance(values, dict):
            raise ResumeRefused("the saved state is not a JSON object")
        return cls(values)

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str):
            raise ResumeRefused(f"the saved state has no text {name!r}")
        return value

    def number(self, name: str) -> int:
        value = self.values.get(name)
        if type(value) is not int or value < 0:  # bool is an int, and is not a count
            raise ResumeRefused(f"the saved state has no count {name!r}")
        return value

    def choice(self, name: str, kind: type[_E]) -> _E:
        try:
            return kind(self.text(name))
        except ValueError as error:
            raise ResumeRefused(f"the saved state has an unknown {name!r}") from error
