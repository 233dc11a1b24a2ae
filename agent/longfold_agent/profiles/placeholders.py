"""Words of a question as numbered tokens, in whatever is read for that question: entity anonymisation (Hermann et al.
2015, "Teaching Machines to Read and Comprehend", section 2.2), by rule. Knows no prompts and no model.

hidden = Placeholders("What is the access code of Norbel?")
hidden.hide("Norbel's access code is 4821.")   # "<w3>'s<w1><w2> is 4821."
hidden.show("<w1><w2> of<w3>: 4821")           # "access code of Norbel: 4821"

A model with a small vocabulary cannot compare names that it never saw; that a word is the question's third it can see.
"""

from __future__ import annotations

import re
from functools import lru_cache

MOST = 16
"""Words of a question that get a token; further ones stay as they are."""
TOKENS = tuple(f"<w{number}>" for number in range(1, MOST + 1))

COMMON = frozenset((
    "a", "about", "according", "again", "all", "am", "an", "and", "answer", "any", "anything", "are", "as", "ask",
    "asked", "at", "be", "been", "being", "but", "by", "can", "could", "current", "currently", "did", "do", "does",
    "exactly", "final", "find", "for", "from", "gave", "get", "give", "given", "gives", "had", "happen", "has",
    "have", "hear", "her", "here", "him", "his", "how", "i", "if", "in", "into", "is", "it", "its", "just",
    "kindly", "know", "known", "last", "latest", "let", "like", "listed", "look", "looking", "me", "mentioned",
    "most", "my", "need", "new", "newest", "now", "of", "on", "or", "our", "out", "please", "present", "presently",
    "provide", "re", "read", "recent", "recorded", "regarding", "remind", "said", "say", "says", "shall", "she",
    "should", "show", "so", "stated", "tell", "than", "that", "the", "their", "them", "then", "there", "these",
    "they", "this", "those", "to", "today", "told", "up", "us", "use", "used", "want", "was", "we", "were", "what",
    "when", "where", "whether", "which", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
    "actual", "identify", "d", "ll", "m", "s", "t", "ve",
))  # fmt: skip
"""Words that ask, join or point; what a question is about is told by its other words."""

_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(r"(?P<space> ?)<w(?P<number>[1-9][0-9]?)>")
_NO_SPACE_BEHIND = frozenset("\n\t ([{/\"'\u201c\u2018$\u20ac\u00a3#-")


class Placeholders:
    """The words of one question and the tokens that stand for them.

    The first `MOST` different words that are not `COMMON`, in the question's order, case aside. A hidden word takes the
    space before it along, so that a text never gets longer in tokens.
    """

    def __init__(self, question: str) -> None:
        self.words: dict[str, str] = {}
        for word in _WORD.findall(question):
            common = word.casefold() in COMMON and (len(word) > 1 or word in "AI" or word.islower())  # "Line D" is not
            if not common and len(self.words) < MOST:
                self.words.setdefault(word.casefold(), word)
        self._numbers = {folded: number for number, folded in enumerate(self.words)}
        self._spellings = tuple(self.words.values())
        self._pattern = _pattern(tuple(self.words))

    def hide(self, text: str) -> str:
        """`text` with every word of the question as its token."""
        if self._pattern is None:
            return text
        return self._pattern.sub(self._token, text)

    def _token(self, found: re.Match[str]) -> str:
        # Upper and lower case are not always one: the pattern takes a dotless i for an i, folding does not.
        number = self._numbers.get(found["word"].casefold())
        return found[0] if number is None else TOKENS[number]

    def show(self, text: str) -> str:
        """`text` with every token as the question spells its word; a token beyond the question's words is left out."""
        out = ""
        done = 0
        for found in _TOKEN.finditer(text):
            out += text[done : found.start()]
            number = int(found["number"]) - 1
            if number < len(self._spellings):
                space = found["space"] or ("" if not out or out[-1] in _NO_SPACE_BEHIND else " ")
                out += space + self._spellings[number]
            done = found.end()
        return out + text[done:]


@lru_cache(maxsize=256)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str] | None:
    if not words:
        return None
    # A number's digits within "1,912" or "4.9" are no word of their own.
    each = "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
    return re.compile(rf" ?(?<![^\W_])(?<!\d[.,])(?P<word>{each})(?![^\W_])(?![.,]\d)", re.IGNORECASE)
