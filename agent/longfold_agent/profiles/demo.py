"""Prompt profile of the demo policy: raw completion prompts in its own special tokens. Knows no engine and no weights.

read:    <chunk>{text}<q> {question}<mem> {memory}<plan> {plan}<out>   ->  <keep>  |  <mem> {memory}<plan> {plan}<eos>
answer:  <q> {question}[<opt> A {option}<opt> B {option} ...]<mem> {memory}<ans>   ->  {answer}<eos>

The training package renders its rows with the functions of this module, so what is trained is what is served.
"""

from __future__ import annotations

from collections.abc import Sequence

SPECIALS = ("<pad>", "<chunk>", "<q>", "<mem>", "<plan>", "<out>", "<eos>", "<ans>", "<opt>", "<keep>")
"""The policy's special tokens; their ids are their places in this tuple."""
PAD, CHUNK, QUESTION, MEMORY, PLAN, OUT, EOS, ANS, OPT, KEEP = range(len(SPECIALS))
NOTHING = "none"
"""How an empty memory or plan is written."""
AFTER_FIND = "watch for changes"
"""The plan once a value has been found: values may change later in the documents."""
UNKNOWN = "unknown"
"""The answer when nothing was found."""
LETTERS = "ABCDEF"


def render_chunk(text: str) -> str:
    """The part of a read prompt that all questions on one chunk share."""
    return f"<chunk>{text}"


def render_question(question: str, memory: str, plan: str) -> str:
    """The part of a read prompt after the chunk."""
    return f"<q> {question}<mem> {memory or NOTHING}<plan> {plan or NOTHING}<out>"


def render_update(memory: str, plan: str) -> str:
    """The reply that rewrites memory and plan."""
    return f"<mem> {memory}<plan> {plan}<eos>"


def render_answer(question: str, options: Sequence[str], memory: str) -> str:
    """The answer prompt; `options` are the texts behind the letters A, B, ..."""
    choices = "".join(f"<opt> {letter} {option}" for letter, option in zip(LETTERS, options, strict=False))
    return f"<q> {question}{choices}<mem> {memory or NOTHING}<ans>"


def memory_line(attribute: str, entity: str, value: str) -> str:
    """The memory the policy is taught to write: one line a person can read."""
    return f"{attribute} of {entity}: {value}"
