"""Training rows: a prompt about one chunk or one memory, and what the teacher would reply. Knows prompts and tokens,
not tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tokenizers import Tokenizer

from longfold_agent.profiles import demo as prompt
from longfold_training.demo import teacher
from longfold_training.demo.spans import Label, Mark, labels, marks
from longfold_training.demo.story import Key, Story, make_story
from longfold_training.demo.words import Split


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and its reply in token ids."""

    prompt: list[int]
    target: list[int]
    reads: bool
    """Whether a chunk is read; else a memory is answered from."""
    tag: str
    """What the row exercises; used in reports only."""
    decisive: tuple[int, ...]
    """Tokens of the reply that decide it: whether it writes, the value and where it ends."""
    labels: list[Label]
    """Of each token of the prompt; empty where no chunk is read."""


@dataclass(frozen=True, slots=True)
class Exercise:
    """A row as text."""

    prompt: str
    target: str
    reads: bool
    tag: str
    marked: Sequence[Mark] = ()
    """The chunk's `marks`."""


IDLE_SHARE = 0.45
"""Share of reading rows whose right reply is KEEP; most steps of a real reading are idle, but active steps teach
more."""


def exercises(rng: Random, story: Story, count: int) -> list[Exercise]:
    """About `count` exercises on a story: active steps, idle steps and answers, shuffled."""
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
    """Reading for one key: KEEP, or the memory with the last value the chunk states.

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
    text = prompt.shown_text(story.text)
    shown = prompt.render_read(question, old, prompt.AFTER_FIND if before else "", text)
    if not after:
        return Exercise(shown, "<keep>", True, f"keep_{key.origin}")
    tag = "update" if before else "find"
    new = prompt.memory_line(key.attribute, key.shown, after)
    words = prompt.read_words(question, old, text)
    return Exercise(shown, prompt.render_update(words, new, prompt.AFTER_FIND), True, tag, marks(story, key, words))


def answer(rng: Random, key: Key, split: Split) -> Exercise:
    """Answering for one key, with or without options."""
    value = "" if rng.random() < 0.12 else teacher.value(rng, key, split)
    question = teacher.question(rng, key)
    memory = prompt.memory_line(key.attribute, key.shown, value) if value else ""
    options: list[str] = []
    if rng.random() < 0.4:
        options = teacher.options(rng, key, value, split)
    reply = teacher.answer(prompt.answer_words(question, options, memory), value, options)
    return Exercise(prompt.render_answer(question, options, memory), reply, False, "choice" if options else "answer")


def make_rows(
    rng: Random, tokenizer: Tokenizer, tokens: int, count: int, split: Split, ordinary: float = 0.0
) -> list[Row]:
    """About `count` rows on one chunk of about `tokens` tokens."""
    story = make_story(rng, tokens, count, split, ordinary)
    return [encode(tokenizer, made) for made in exercises(rng, story, count)]


def encode(tokenizer: Tokenizer, made: Exercise) -> Row:
    """An exercise in token ids."""
    asked, said = tokenizer.encode(made.prompt), tokenizer.encode(made.target)
    decisive = [0]
    if made.reads and said.ids[0] not in (prompt.KEEP, prompt.MEMORY):
        decisive = list(range(len(said.ids)))  # the reply of a single pass is the value and its end, and no more
    elif made.reads and said.ids[0] == prompt.MEMORY:
        value = made.target.find(":") + 1  # a name or an attribute holds no colon
        decisive += [
            number
            for number, (begin, _) in enumerate(said.offsets)
            if begin >= value and number <= said.ids.index(prompt.PLAN)
        ]
    told: list[Label] = []
    if made.reads:
        start = made.prompt.find("<chunk>") + len("<chunk>")
        told = labels(asked.offsets, start, made.marked, lambda value: tokenizer.encode(value).ids[0])
    return Row(asked.ids, said.ids, made.reads, made.tag, tuple(decisive), told)
