"""The profile of models that answer a read call with `<memory>` and `<plan>` tags. What differs between them is data
(`Wording`, `Budgets`, sampling numbers); `qwenlong` and `general` are two such sets. Knows no engine and no state."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from longfold_agent.errors import InvalidReply
from longfold_agent.profiles.replies import Part, Unusable, is_word, overlapping, part, spoken
from longfold_agent.profiles.templates import NO_INSTRUCTIONS, Wording
from longfold_agent.protocols import Budgets, Tokens
from longfold_agent.types import (
    Call,
    CallKind,
    Completion,
    FinalText,
    Message,
    Prompt,
    Query,
    Reply,
    Sampling,
    Update,
    UpdateKind,
)

PARSER = 1
"""Raised with every change of the parsing rules, so that no state is continued under other rules than it was begun."""
KEEP = "KEEP"
RETRY_TEMPERATURE = 0.3
"""Added per attempt where the first attempt is greedy: the same prompt at temperature 0 would only repeat its bad
reply."""
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class TaggedProfile:
    """A `Profile` from wording, budgets and sampling numbers."""

    name: str
    wording: Wording
    budgets: Budgets
    gate: bool
    thinks: bool
    """The model always reasons before it replies, so a reply cut before `</think>` holds nothing."""
    temperature: float
    top_p: float
    decompose_output: int
    """max_tokens of the decomposition (reasoning included)."""
    notice: str = ""
    version: str = field(init=False)

    def __post_init__(self) -> None:
        parts = {
            "parser": PARSER,
            "name": self.name,
            "wording": self.wording.identity(),
            "budgets": self.budgets.identity(),
            "gate": self.gate,
            "thinks": self.thinks,
            "sampling": [self.temperature, self.top_p, RETRY_TEMPERATURE, self.decompose_output],
        }
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        object.__setattr__(self, "version", f"{self.name}-{digest[:16]}")

    def decompose(self, question: str) -> Query | tuple[Prompt, Sampling]:
        return _chat(self.wording.decomposing(question)), self._sampled(self.decompose_output)

    def parse_decomposition(self, question: str, completion: Completion) -> Query:
        """q_core and q_inst. With nothing to split the question comes back unchanged. Raises `InvalidReply` for a reply
        without
        usable tags, and for one that lost or invented a number: reading for another question is worse than not
        splitting."""
        said = spoken(completion, thinks=self.thinks)
        if isinstance(said, Unusable):
            raise InvalidReply(f"decomposition: {said.reason}")
        core, told = part(said, "core"), part(said, "instructions")
        for one, name in ((core, "core"), (told, "instructions")):
            if isinstance(one, Unusable):
                raise InvalidReply(f"decomposition: {one.reason}")
            if one is not None and not one.closed:
                raise InvalidReply(f"decomposition: the {name} tag is not closed")
        if not isinstance(core, Part) or not core.text or core.text == "...":
            raise InvalidReply("decomposition: no core question")
        instructions = told.text if isinstance(told, Part) else ""
        if not instructions or instructions in ("...", NO_INSTRUCTIONS) or is_word(instructions, "none"):
            return Query(question)
        if set(_NUMBER.findall(question)) != set(_NUMBER.findall(f"{core.text}\n{instructions}")):
            raise InvalidReply("decomposition: its numbers are not those of the question")
        if len(core.text) + len(instructions) > 2 * len(question) + 200:
            raise InvalidReply("decomposition: longer than the question")
        return Query(core.text, instructions)

    def render(self, call: Call, text: str = "") -> Prompt:
        if call.kind is CallKind.READ:
            return _chat(self.wording.reading(call.question, call.memory, call.plan, text))
        return _chat(self.wording.answering(call.question, call.memory, call.plan, call.instructions))

    def render_direct(self, query: Query, documents: Sequence[tuple[str, str]]) -> Prompt:
        return _chat(self.wording.single_pass(query.core, query.instructions, documents))

    def sampling(self, call: Call) -> Sampling:
        """Depends on the call's kind and attempt only. A greedy profile's retries are warmer, each with the attempt as
        its seed; a sampled profile's retries are simply new samples."""
        budget = self.budgets.read_output if call.kind is CallKind.READ else self.budgets.answer_output
        return self._sampled(budget, call.attempt)

    def sampling_direct(self, attempt: int = 0) -> Sampling:
        return self._sampled(self.budgets.answer_output, attempt)

    def parse(self, call: Call, completion: Completion, text: str, tokens: Tokens) -> Reply:
        """A read gives an `Update` for any reply at all; the answer gives `FinalText` or raises `InvalidReply`."""
        if call.kind is CallKind.READ:
            return self._update(completion, tokens)
        return FinalText(self._final(completion))

    def parse_direct(self, completion: Completion, query: Query, documents: Sequence[tuple[str, str]]) -> str:
        """Raises `InvalidReply` when nothing was said."""
        return self._final(completion)

    def _update(self, completion: Completion, tokens: Tokens) -> Update:
        said = spoken(completion, thinks=self.thinks)
        if isinstance(said, Unusable):
            return _invalid(said.reason)
        cut = completion.finish_reason == "length"
        if self.gate and is_word(said, KEEP):
            return _invalid("cut by the output limit") if cut else Update(UpdateKind.KEEP)
        memory, plan = part(said, "memory"), part(said, "plan")
        if isinstance(memory, Unusable):
            return _invalid(memory.reason)
        if isinstance(plan, Unusable):
            return _invalid(plan.reason)
        if cut and not (memory is not None and memory.closed and plan is not None and plan.closed):
            return _invalid("cut by the output limit")
        if memory is None:
            return _invalid("no memory tag")
        if not memory.closed:
            return _invalid("the memory tag is not closed")
        if plan is not None and overlapping((memory, plan)):
            return _invalid("memory and plan tags are nested")
        if self.gate and is_word(memory.text, KEEP):
            return Update(UpdateKind.KEEP)
        if not memory.text:
            return _invalid("empty memory")
        if self._placeholder(memory.text):
            return _invalid("the memory is only a placeholder")
        new_plan = "" if plan is None or self._placeholder(plan.text) else plan.text
        if (used := tokens.count(memory.text)) > self.budgets.memory:
            return _invalid(f"memory over budget ({used} > {self.budgets.memory} tokens)")
        if (used := tokens.count(new_plan)) > self.budgets.plan:
            return _invalid(f"plan over budget ({used} > {self.budgets.plan} tokens)")
        return Update(UpdateKind.REWRITE, memory.text, new_plan)

    def _placeholder(self, text: str) -> bool:
        """Whether a part only repeats the template's example or holds no letter or digit at all ("...", "---")."""
        same = any(is_word(text, placeholder.strip(" ().")) for placeholder in self.wording.placeholders)
        return same or not any(character.isalnum() for character in text)

    def _final(self, completion: Completion) -> str:
        said = spoken(completion, thinks=self.thinks)
        if isinstance(said, Unusable):
            raise InvalidReply(f"the answer cannot be used: {said.reason}")
        if not said:
            raise InvalidReply("the answer is empty")
        return said

    def _sampled(self, max_tokens: int, attempt: int = 0) -> Sampling:
        if self.temperature == 0 and attempt:
            return Sampling(max_tokens, min(1.0, RETRY_TEMPERATURE * attempt), top_p=0.95, seed=attempt)
        return Sampling(max_tokens, self.temperature, self.top_p)


def _chat(content: str) -> Prompt:
    return Prompt(messages=(Message("user", content),))


def _invalid(reason: str) -> Update:
    return Update(UpdateKind.INVALID, reason=reason)
