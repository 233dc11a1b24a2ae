"""Where a chunk states what is asked: labels on its tokens, a training signal for the middle of the network. Knows
prompts and offsets, not tensors.

A reply teaches where to look only through its own few tokens. Labels on the chunk say it at the place itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from longfold_agent.profiles.demo import shown_text
from longfold_agent.profiles.placeholders import Placeholders
from longfold_training.demo.sentences import Fact, Passage
from longfold_training.demo.story import Key, Story, name_of

BEGINS, INSIDE, STATED = 1, 2, 4
"""Bits of a token's label: a stated value of the key begins; goes on; a statement of the key is complete, until its
passage ends."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Bits for a range of characters of the chunk's text as the prompt shows it."""

    bits: int
    begin: int
    end: int
    value: str = ""
    """The value stated, as the prompt shows it, where its statement is complete."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a token of the chunk is to its key."""

    bits: int = 0
    value: int = 0
    """First token of the value stated; 0 where none is."""


def marks(story: Story, key: Key, words: Placeholders) -> list[Mark]:
    """Where the chunk states a value of `key`.

    A value is labelled only where the key stands before it: a causal reader cannot know it earlier.
    """
    name = name_of(key.entity, key.attribute)
    text = shown_text(story.text)
    return marks_of(text, story.passages, lambda fact: name_of(fact.entity, fact.attribute) == name, words.hide)


def marks_of(
    text: str, passages: Sequence[Passage], counts: Callable[[Fact], bool], hide: Callable[[str], str]
) -> list[Mark]:
    """The same for the facts of `passages` that count; `text` is a `shown_text`, and `hide` makes of it what the prompt
    shows."""
    out = []
    searched = 0
    for passage in (replace(one, text=shown_text(one.text)) for one in passages):
        at = text.find(passage.text, searched)
        if at < 0:
            continue
        searched = at
        for begin, end, ready in _statements(passage, counts):
            places = (begin, end, max(end, ready), len(passage.text))
            low, high, complete, last = (len(hide(text[: at + place])) for place in places)
            if ready <= begin:
                out.append(Mark(BEGINS | INSIDE, low, high))
            out.append(Mark(STATED, complete - 1, last, hide(f" {passage.text[begin:end]}")))
    return out


def _statements(passage: Passage, counts: Callable[[Fact], bool]) -> list[tuple[int, int, int]]:
    """Begin and end of the value and the end of the key's later half, for each fact of a passage that counts."""
    low = passage.text.lower()
    found = []
    for fact in filter(counts, passage.facts):
        entity, phrase = name_of(fact.entity, fact.attribute)
        values = list(re.finditer(rf"(?<!\w){re.escape(fact.value.lower())}(?!\w)", low))
        ends = [low.find(part) + len(part) for part in (entity, phrase) if part in low]
        if values and ends:
            found.append((*values[-1].span(), max(ends)))
    return found


def labels(
    offsets: Sequence[tuple[int, int]], start: int, marked: Sequence[Mark], first: Callable[[str], int]
) -> list[Label]:
    """The label of every token; `offsets` are the tokens' character ranges, `start` is where the chunk's text begins,
    `first` gives a text's first token."""
    bits, values = [0] * len(offsets), [0] * len(offsets)
    for mark in marked:
        inside = [
            number for number, (low, high) in enumerate(offsets) if high > start + mark.begin and low < start + mark.end
        ]
        for number in inside:
            bits[number] |= mark.bits & ~BEGINS
            if mark.value:
                values[number] = first(mark.value)
        if inside and mark.bits & BEGINS:
            bits[inside[0]] |= BEGINS
    return [Label(*pair) for pair in zip(bits, values, strict=True)]
