"""A served profile that explores: replies are sampled, and nothing else differs from what is served. Knows no
wording."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from longfold_agent.protocols import Budgets, Profile, Tokens
from longfold_agent.types import Call, Completion, Prompt, Query, Reply, Sampling


@dataclass(frozen=True, slots=True)
class Sampled:
    """A `longfold_agent.protocols.Profile`: prompts, parsing and limits of `profile`, sampling of its own.

    temperature, top_p: of every reply; at temperature 0 a retry is as warm as it is served, since it would only repeat
    its bad reply. output: max_tokens of every reply in place of the profile's own, for stages of
    growing length. seed: every call's seed follows from it and from the call's id, so that a resumed run samples what
    an unbroken one does; None leaves chance to the engine.
    """

    profile: Profile
    temperature: float
    top_p: float
    output: int | None = None
    seed: str | None = None

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def version(self) -> str:
        return self.profile.version

    @property
    def budgets(self) -> Budgets:
        own = self.profile.budgets
        return own if self.output is None else replace(own, read_output=self.output, answer_output=self.output)

    @property
    def gate(self) -> bool:
        return self.profile.gate

    @property
    def notice(self) -> str:
        return self.profile.notice

    def decompose(self, question: str) -> Query | tuple[Prompt, Sampling]:
        return self.profile.decompose(question)

    def parse_decomposition(self, question: str, completion: Completion) -> Query:
        return self.profile.parse_decomposition(question, completion)

    def render(self, call: Call, text: str = "") -> Prompt:
        return self.profile.render(call, text)

    def render_direct(self, query: Query, documents: Sequence[tuple[str, str]]) -> Prompt:
        return self.profile.render_direct(query, documents)

    def sampling(self, call: Call) -> Sampling:
        return self._explore(self.profile.sampling(call), call.id, call.attempt)

    def sampling_direct(self, attempt: int = 0) -> Sampling:
        return self._explore(
            self.profile.sampling_direct(attempt), f"direct/a{attempt}" if attempt else "direct", attempt
        )

    def parse(self, call: Call, completion: Completion, text: str, tokens: Tokens) -> Reply:
        return self.profile.parse(call, completion, text, tokens)

    def parse_direct(self, completion: Completion, query: Query, documents: Sequence[tuple[str, str]]) -> str:
        return self.profile.parse_direct(completion, query, documents)

    def _explore(self, served: Sampling, call: str, attempt: int) -> Sampling:
        as_served = self.temperature == 0 and attempt > 0
        return replace(
            served,
            temperature=served.temperature if as_served else self.temperature,
            top_p=served.top_p if as_served else self.top_p,
            max_tokens=served.max_tokens if self.output is None else self.output,
            seed=served.seed if self.seed is None else _number(f"{self.seed}/{call}"),
        )


def _number(text: str) -> int:
    """A seed that every engine takes: 31 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) >> 1
