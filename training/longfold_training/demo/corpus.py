"""The text the tokenizer is trained on: ordinary prose first, then documentation, generated sentences and the prompts
themselves."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from longfold_agent.profiles.lexicon import COMMON, FRAME, OPENING
from longfold_training.demo import filler, rows
from longfold_training.demo.story import make_story
from longfold_training.demo.words import phrases, words

PROSE_COPIES = 20
"""How often the small body of prose counts beside the large body of documentation, so that ordinary English is dense in
tokens."""

SHOWN_COPIES = 250
"""How often each word counts that the policy sees as it is, so that each is a token."""

_LISTS = (
    "nouns", "adjectives", "verbs_past", "participles", "adverbs", "functions", "first_names", "last_names",
    "place_words", "place_mods", "org_words", "project_words", "months", "units", "titles",
)  # fmt: skip


def corpus(seed: int) -> Iterator[str]:
    """Texts in a fixed order; the same seed gives the same texts."""
    rng = Random(f"corpus/{seed}")
    for paragraph in filler.prose("train"):
        text = " ".join(paragraph)
        for _ in range(PROSE_COPIES):
            yield text
    for paragraph in filler.library("train"):
        yield " ".join(paragraph)
    for name in _LISTS:
        listed = " " + " ".join(words(name))
        for _ in range(25):
            yield listed
    shown = " " + " ".join(sorted(COMMON | OPENING | FRAME))
    for _ in range(SHOWN_COPIES):
        yield shown
    for _ in range(12):
        yield " " + " ".join(phrases("phrases"))
        yield " " + " ".join(phrase.split(":")[-1] for phrase in phrases("attributes"))
    for _ in range(1500):
        story = make_story(rng, 96, 4, "train", 0.75)
        yield story.text
        for made in rows.exercises(rng, story, 3):
            yield from (part.split(">")[-1] for part in (made.prompt + made.target).split("<"))
