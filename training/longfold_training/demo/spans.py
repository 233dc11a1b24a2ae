"""Where a chunk states what is asked: labels on its tokens, a training signal for the middle of the network. Knows
prompts and offsets, not tensors.

A reply teaches where to look only through its own few tokens. Labels on the chunk say it at the place itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from longfold_agent.profiles.placeholders import Placeholders
from longfold_training.demo.sentences import Passage
from longfold_training.demo.story import Key, Story, name_of

BEGINS, INSIDE, STATED = 1, 2, 4
"""Bits of a token's label: a stated value of the key begins; goes on; a statement of the key is complete, until its
passage ends."""


def spans(story: Story, key: Key, question: str) -> list[tuple[int, int, int]]:
    """Bits and character range of each label, in the chunk's text as the prompt for `question` shows it.

    A value is labelled only where the key stands before it: a causal reader cannot know it earlier.
    """
    hide = Placeholders(question).hide
    out = []
    searched = 0
    for passage in story.passages:
        at = story.text.find(passage.text, searched)
        if at < 0:
            continue
        searched = at
        for begin, end, ready in _statements(passage, key):
            places = (begin, end, max(end, ready), len(passage.text))
            low, high, complete, last = (len(hide(story.text[: at + place])) for place in places)
            if ready <= begin:
                out.append((BEGINS | INSIDE, low, high))
            out.append((STATED, complete - 1, last))
    return out


def _statements(passage: Passage, key: Key) -> list[tuple[int, int, int]]:
    """Begin and end of the value and the end of the key's later half, for each statement of `key` in a passage."""
    low = passage.text.lower()
    entity, phrase = key.entity.lower().removeprefix("the "), key.attribute.lower()
    found = []
    for fact in passage.facts:
        if name_of(fact.entity, fact.attribute) != name_of(key.entity, key.attribute):
            continue
        values = list(re.finditer(rf"(?<!\w){re.escape(fact.value.lower())}(?!\w)", low))
        ends = [low.find(part) + len(part) for part in (entity, phrase) if part in low]
        if values and ends:
            found.append((*values[-1].span(), max(ends)))
    return found


def labels(offsets: Sequence[tuple[int, int]], start: int, marked: Sequence[tuple[int, int, int]]) -> list[int]:
    """The bits of every token; `offsets` are the tokens' character ranges, `start` is where the chunk's text begins."""
    out = [0] * len(offsets)
    for bits, begin, end in marked:
        inside = [number for number, (low, high) in enumerate(offsets) if high > start + begin and low < start + end]
        for number in inside:
            out[number] |= bits & ~BEGINS
        if inside and bits & BEGINS:
            out[inside[0]] |= BEGINS
    return out
