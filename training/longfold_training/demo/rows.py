"""Training rows: one chunk and many questions on it, with what the teacher would reply. Knows prompts and tokens, not
tensors.

A row is a chunk followed by blocks. A step block asks what to do with the memory after reading the chunk; an answer
block answers from a memory alone. Every block is its own continuation of the chunk, so one chunk's computation serves
many questions, as it does when served.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tokenizers import Tokenizer

from longfold_agent.profiles import demo as prompt
from longfold_training.demo import teacher
from longfold_training.demo.evidence import evidence
from longfold_training.demo.story import Key, Story, make_story
from longfold_training.demo.words import Split


@dataclass(frozen=True, slots=True)
class Block:
    """One question's continuation of a chunk."""

    prompt: list[int]
    target: list[int]
    reads: bool
    """A step block sees the chunk; an answer block does not."""
    tag: str
    """What the block exercises; used in reports only."""


@dataclass(frozen=True, slots=True)
class Row:
    chunk: list[int]
    blocks: list[Block]


@dataclass(frozen=True, slots=True)
class Exercise:
    """A block as text."""

    prompt: str
    target: str
    reads: bool
    tag: str


IDLE_SHARE = 0.45
"""Share of step blocks whose right reply is KEEP; most steps of a real reading are idle, but active steps teach
more."""


def exercises(rng: Random, story: Story, count: int) -> list[Exercise]:
    """About `count` blocks on a story: active steps, idle steps and answers, shuffled."""
    active: list[Exercise] = []
    idle: list[Exercise] = []
    for key in story.keys:
        made = step(rng, story, key)
        (idle if made.tag.startswith("keep") else active).append(made)
    rng.shuffle(active)
    rng.shuffle(idle)
    answers = max(1, round(count * 0.16))
    wanted = max(1, round((count - answers) * (1 - IDLE_SHARE)))
    chosen = active[:wanted]
    chosen += idle[: count - answers - len(chosen)]
    chosen += [answer(rng, rng.choice(story.keys), story.split) for _ in range(answers)]
    rng.shuffle(chosen)
    return chosen


def step(rng: Random, story: Story, key: Key) -> Exercise:
    """The step block of one key: KEEP, or the memory with the last value the chunk states.

    A value that the memory already holds is written again: the memory stays as it is either way, and whether the chunk
    states a value is all that the gate has to see. (Taught to keep equal values, the policy also kept "41,200 euros"
    where the chunk said "52,300 euros".)
    """
    after = story.last_value(key)
    before = key.prior
    if before and after and rng.random() < 0.1:
        before = after
    question = teacher.question(rng, key)
    old = prompt.memory_line(key.attribute, key.shown, before) if before else ""
    text = prompt.render_question(question, old, prompt.AFTER_FIND if before else "")
    if not after:
        return Exercise(text, "<keep>", True, f"keep_{key.origin}")
    new = prompt.memory_line(key.attribute, key.shown, after)
    quote = evidence(story.last_statement(key), key.attribute, key.entity, after)
    return Exercise(text, prompt.render_update(quote, new, prompt.AFTER_FIND), True, "update" if before else "find")


def answer(rng: Random, key: Key, split: Split) -> Exercise:
    """The answer block of one key, with or without options."""
    value = "" if rng.random() < 0.12 else teacher.value(rng, key, split)
    question = teacher.question(rng, key)
    memory = prompt.memory_line(key.attribute, key.shown, value) if value else ""
    options: list[str] = []
    if rng.random() < 0.4:
        options = teacher.options(rng, key, value, split)
    reply = teacher.answer(value, options)
    return Exercise(prompt.render_answer(question, options, memory), reply, False, "choice" if options else "answer")


def make_row(rng: Random, tokenizer: Tokenizer, tokens: int, count: int, split: Split, ordinary: float = 0.0) -> Row:
    """A row with a chunk of about `tokens` tokens and about `count` blocks."""
    story = make_story(rng, tokens, count, split, ordinary)
    chunk = tokenizer.encode(prompt.render_chunk(story.text)).ids
    blocks = []
    for made in exercises(rng, story, count):
        blocks.append(Block(tokenizer.encode(made.prompt).ids, tokenizer.encode(made.target).ids, made.reads, made.tag))
    return Row(chunk, blocks)
