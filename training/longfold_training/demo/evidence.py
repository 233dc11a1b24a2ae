"""The words of a passage that lead to a stated value: what the policy quotes before it writes. Knows no prompts and no
tokens.

Copying from a word it was asked about is what a small model does best; the value then stands at the end of what it
copied, so finding the value takes no further search in the chunk.
"""

from __future__ import annotations

import re

LONGEST = 120
"""Characters from the key to the value's end; beyond, the value is quoted alone."""


def evidence(text: str, attribute: str, entity: str, value: str) -> str:
    """The stretch of `text` from the attribute's mention before the value, else the entity's, through the value; as it
    stands there.

    The value alone where neither is mentioned before it, or too far away.
    """
    low = text.lower()
    places = [match.span() for match in re.finditer(rf"(?<!\w){re.escape(value.lower())}(?!\w)", low)]
    for key in (attribute.lower(), entity.lower().removeprefix("the ")):
        for start, end in places:
            mention = low.rfind(key, 0, start)
            if mention >= 0 and end - mention <= LONGEST:
                return text[mention:end]
    if places:
        start, end = places[-1]
        return text[start:end]
    return value
