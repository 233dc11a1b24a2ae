"""Training rows of the single pass: a question on a whole short text, answered without a memory. Knows prompts, no
rule of a family."""

from __future__ import annotations

from random import Random

from tokenizers import Tokenizer

from longfold_agent.profiles import demo as prompt
from longfold_training.demo import teacher
from longfold_training.demo.asked import Asked, Tale, reply_of
from longfold_training.demo.rows import Exercise, Row, encode
from longfold_training.demo.schedule import Load
from longfold_training.demo.several import make_tale
from longfold_training.demo.spans import marks, marks_of
from longfold_training.demo.story import Key, Story, make_story, name_of
from longfold_training.demo.words import Split

ABSENT = 0.4
"""Questions that the text does not answer, for each that it does: most have an answer, and a policy that never says
"unknown" invents one."""
CHOICE_SHARE = 0.3
"""Share of single facts that are asked with options."""


def longest(chunk: int) -> int:
    """Tokens of the longest text at a stage of training whose chunks have `chunk`."""
    return 2 * chunk


def direct_load(
    rng: Random, tokenizer: Tokenizer, load: Load, split: Split, ordinary: float = 0.0, families: float = 0.0
) -> list[Row]:
    """A step of the single pass alone, on texts of one length up to `longest`; about as many tokens as the load's.

    Alone, since its replies are a few tokens and would be drowned by those that write a memory, and since rows of two
    chunks' length would pad all others.

    ordinary: share of statements as people ordinarily write them. families: share of rows over several facts, one on a
    text.
    """
    tokens = rng.randint(load.chunk // 2, longest(load.chunk))
    room = load.length + max(0, tokens - load.chunk)
    wanted = load.rows * load.chunk // max(load.chunk, tokens)
    rows: list[Row] = []
    while len(rows) < wanted:
        if len(rows) < families * wanted:
            tale = make_tale(rng, tokens, split, ordinary)
            asked, _ = rng.choice(tale.asked)
            if not asked.answer(asked.read((), tale.passages) or ()) and rng.random() > ABSENT:
                continue
            made = [over_several(rng, asked, tale)]
        else:
            made = over_one(rng, make_story(rng, tokens, load.each, split, ordinary), load.each)
        rows += [row for row in (encode(tokenizer, one) for one in made) if len(row.prompt) + len(row.target) <= room]
    return rows[:wanted]


def over_one(rng: Random, story: Story, count: int) -> list[Exercise]:
    """About `count` questions for single facts."""
    stated = [key for key in story.keys if story.last_value(key)]
    absent = [key for key in story.keys if not story.last_value(key)]
    rng.shuffle(stated)
    rng.shuffle(absent)
    chosen = stated[: round(count / (1 + ABSENT))]
    return [single(rng, story, key) for key in chosen + absent[: max(1, round(len(chosen) * ABSENT))]]


def single(rng: Random, story: Story, key: Key) -> Exercise:
    """Answering for one key: the last value that the text states, or `UNKNOWN`."""
    value = story.last_value(key)
    question = teacher.question(rng, key)
    options = choices(rng, story, key) if rng.random() < CHOICE_SHARE else []
    text = prompt.shown_text(story.text)
    words = prompt.direct_words(question, options, text)
    name = name_of(key.entity, key.attribute)
    stated = {
        fact.value for one in story.passages for fact in one.facts if name_of(fact.entity, fact.attribute) == name
    }
    family = "choice" if options else "update" if len(stated) > 1 else "single" if value else "absent"
    return Exercise(
        prompt.render_direct(question, options, text),
        teacher.answer(words, value, options),
        True,
        f"direct_{family}",
        marks(story, key, words),
    )


def choices(rng: Random, story: Story, key: Key) -> list[str]:
    """Options for a key. Half of the wrong ones are values that the text states of something else, or stated before:
    an option is not right for standing in the text."""
    right = story.last_value(key)
    options = teacher.options(rng, key, right, story.split)
    taken = {option.lower() for option in (*options, right)}
    stated = {fact.value.lower(): fact.value for passage in story.passages for fact in passage.facts}
    others = [value for folded, value in stated.items() if folded not in taken]
    rng.shuffle(others)
    return [
        others.pop() if others and option.lower() != right.lower() and rng.random() < 0.5 else option
        for option in options
    ]


def over_several(rng: Random, asked: Asked, tale: Tale) -> Exercise:
    """Answering a question over several facts by what the whole text states."""
    question = asked.question(rng)
    text = prompt.shown_text(tale.text)
    words = prompt.direct_words(question, (), text)
    return Exercise(
        prompt.render_direct(question, (), text),
        reply_of(asked, asked.read((), tale.passages) or (), words),
        True,
        f"direct_{asked.family}",
        marks_of(text, tale.passages, lambda fact: asked.counts(fact, ()), words.hide),
    )
