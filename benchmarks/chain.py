"""A reader without a model whose every reply follows from all it has read: its memory is a chain of hashes.

A chunk that was lost, doubled, reordered or cut elsewhere changes the memory and with it the answer, so a whole job can
be checked exactly against `expected`. Speaks the prompts of the `general` profile; knows no server.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

from longfold_agent import chunks
from longfold_agent.chunks import Texts
from longfold_agent.profiles.templates import NOTHING
from longfold_agent.protocols import Tokens

WORDS = ("alder", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "willow")
KEEP_SHARE = 4
"""One section in so many is answered KEEP: a lost one of these changes the steps and not the chain."""


@dataclass(frozen=True)
class Step:
    """One committed reading step as it must be."""

    id: str
    update: str
    start: int
    end: int
    memory: str


@dataclass(frozen=True)
class Expected:
    """An undisturbed reading."""

    steps: tuple[Step, ...]
    answer: str


def next_memory(memory: str, section: str) -> str:
    """The memory after a section; the same one for a section that is answered KEEP."""
    digest = hashlib.blake2b(f"{memory}\n{section}".encode(), digest_size=16)
    kept = hashlib.blake2b(section.encode(), digest_size=1).digest()[0] % KEEP_SHARE == 0
    return memory if kept else f"chain {digest.hexdigest()}"


def final_answer(memory: str, question: str) -> str:
    """Names the question too, so that two jobs that were mixed up are found out."""
    return f"{memory or 'nothing'}, asked {question}"


def reply(prompt: str) -> str:
    """The reply to a prompt of the `general` profile."""
    question = _between(prompt, "<problem>\n", "\n</problem>")
    if "<section>\n" not in prompt:
        if "<core>...</core>" in prompt:
            return f"<core>{question}</core>\n<instructions></instructions>"
        return final_answer(_memory(prompt, "<memory>\n"), question)
    before = _memory(prompt, "<previous_memory>\n<memory>\n")
    memory = next_memory(before, _between(prompt, "<section>\n", "\n</section>\n\n<problem>"))
    return "KEEP" if memory == before else f"<memory>\n{memory}\n</memory>\n<plan>\nread on\n</plan>"


def expected(text: str, question: str, tokens: Tokens, budget: int) -> Expected:
    """What a job over one document must have done in the end."""
    memory, steps = "", []
    for chunk in chunks(Texts([text]), tokens, budget):
        before, memory = memory, next_memory(memory, chunk.text)
        update = "keep" if memory == before else "rewrite"
        steps.append(Step(f"read/{chunk.index}", update, chunk.start.char, chunk.end.char, memory))
    return Expected(tuple(steps), final_answer(memory, question))


def document(rng: Random, tokens: Tokens, budget: int, count: int) -> str:
    """A text of at least `count` chunks, and few more: none holds more than the budget."""
    text = ""
    while tokens.count(text) < count * budget:
        text += " ".join(f"{rng.choice(WORDS)} {rng.randrange(1000)}" for _ in range(4)) + ".\n"
    return text.strip()


def _memory(prompt: str, opening: str) -> str:
    memory = _between(prompt, opening, "\n</memory>")
    return "" if memory == NOTHING else memory


def _between(prompt: str, opening: str, closing: str) -> str:
    return prompt.partition(opening)[2].partition(closing)[0]
