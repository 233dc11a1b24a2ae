"""Words that a small vocabulary cannot tell apart as numbered tokens, by rule: the question's words (entity
anonymisation, Hermann et al. 2015, "Teaching Machines to Read and Comprehend", section 2.2), and the names, numbers and
rarer words of what is read (Luong et al. 2015, "Addressing the Rare Word Problem"). Knows no prompts and no model.

words = Placeholders("What is the access code of Norbel?", text="Norbel's access code is 4821.")
words.hide("Norbel's access code is 4821.")      # "<w3>'s<w1><w2> is<n10>."
words.show("<w1><w2> of<w3>:<n10>")              # "access code of Norbel: 4821"

A model with a small vocabulary cannot compare names that it never saw; that a word is the question's third it can see.
And it copies a token more surely than seven digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from zlib import crc32

from longfold_agent.profiles.lexicon import COMMON, FRAME, MONTHS, OPENING, TITLES, UNITS

MOST = 16
"""Words of a question that get a token; further ones stay as they are."""
SLOTS = {"c": 64, "n": 64, "r": 128}
"""Tokens for names, numbers and rarer words; what finds all of its kind taken stays as it is."""
TOKENS = tuple(f"<{kind}{number}>" for kind, most in {"w": MOST, **SLOTS}.items() for number in range(1, most + 1))
"""Words of the question, capitalised words, numbers, rarer words."""

_WORD = re.compile(r"[^\W_]+")
_NUMBER = r"(?:[^\W_]{1,24}[-/]){0,3}[^\W\d_]{0,24}\d[^\W_]*(?:[-/][^\W_]+|[.,:]\d[^\W_]*)*"
_LETTERS = r"[^\W\d_]+"
_BEGINNING = re.compile(
    r"(?:(?<!\b[A-Z])"
    + "".join(rf"(?<!\b{title})" for title in TITLES)
    + r"[.!?][\"'\u201d\u2019)\]]*\s|\n|\A)[\s\"'\u201c\u2018(\[*#>\u2022-]*\Z"
)
"""Behind the end of a sentence or line; "Dr. " and "M. " end none."""
_LOOK_BACK = 12
_SEVERAL = re.compile(r"\b(?:(?i:how many|all|are(?! you\b)|were)\b|(?i:list)(?= (?:the|all)\b| [A-Z]))")
"""What makes a question one for several things, or for their number; "Are you able to" does not."""
_ASKS = frozenset(("list", "many"))
"""Words of such a question that stay visible in it; "are" and "all" are `COMMON`."""
_TOKEN = re.compile(r"(?P<space> ?)(?P<token><[wcnr][1-9][0-9]{0,2}>)")
_NO_SPACE_BEHIND = frozenset("\n\t ([{/\"'\u201c\u2018$\u20ac\u00a3#-")


class Placeholders:
    """The words of one prompt and the tokens that stand for them.

    question: its first `MOST` different words that are not `COMMON`, in its order, case aside. Where it asks for
    several things, "passenger" is its word "passengers" too, and comes back as the question spells it.
    said: short texts beside the question (memory, options); each capitalised word in them is a name.
    text: what is read; a capitalised word of `FRAME` that begins a sentence is no name there, unless another capital
    or a digit follows it or it is a name elsewhere.

    Names and numbers that follow each other share a token ("Bernard Hale", "12 May 2031"), but a number after a number
    has its own, except the year of a date ("July 9, 2017"). A number takes its unit along, unless the question asks
    with that word. A word in small letters that no list of `lexicon` holds has a token for itself. All are told apart
    by their spelling. Which token one gets follows from its spelling where that token is free, so that all tokens are
    about equally frequent. A hidden word takes the space before it along, so that a text never gets longer in tokens.
    """

    def __init__(self, question: str, said: Sequence[str] = (), text: str = "") -> None:
        self.several = asks_for_several(question)
        self.words: dict[str, str] = {}
        for word in _WORD.findall(question):
            if not _is_common(word) and not self._asks(word) and len(self.words) < MOST:
                self.words.setdefault(word.casefold(), word)
        self._asked = dict(zip(self.words, TOKENS, strict=False))
        if self.several:
            for folded in self.words:
                for one in singulars(folded):
                    self._asked.setdefault(one, self._asked[folded])
        self._pattern = _pattern(tuple(self._asked))
        self._tokens: dict[str, str] = {}
        self._shown = {self._asked[folded]: word for folded, word in self.words.items()}
        for other in (question, *said):
            for run in self._runs(other):
                self._give(run)
        for run in self._runs(text):
            if not _opens(run):
                self._give(run)

    def _runs(self, text: str) -> Iterator[_Run]:
        """Words of the question and rarer words, each alone, and names and numbers, in the order of the text."""
        run: _Run = []
        for found in self._pattern.finditer(text):
            if run and not _goes_on(run, found):
                yield run
                run = []
            if found["word"] or found["number"] or _is_name(found["letters"]) or _is_rare(found["letters"]):
                run.append(found)
        if run:
            yield run

    def _give(self, run: _Run) -> None:
        """Gives what has no token the first free one of its kind from where its spelling points."""
        spelling = _spelling(run)
        if run[0]["word"] or spelling in self._tokens or self._asks(spelling):
            return
        kind = "n" if any(found["number"] for found in run) else "c" if _is_name(run[0]["letters"]) else "r"
        start = crc32(spelling.encode(errors="replace"))
        tokens = (f"<{kind}{(start + step) % SLOTS[kind] + 1}>" for step in range(SLOTS[kind]))
        token = next((token for token in tokens if token not in self._shown), None)
        if token is not None:
            self._tokens[spelling] = token
            self._shown[token] = spelling

    def _asks(self, word: str) -> bool:
        return self.several and word.casefold() in _ASKS

    def hide(self, text: str) -> str:
        """`text` with every word of the question, name, number and rarer word as its token."""
        out: list[str] = []
        done = 0
        for run in self._runs(text):
            out += text[done : run[0].start()], self._token(run)
            done = run[-1].end()
        return "".join(out) + text[done:]

    def _token(self, run: _Run) -> str:
        found = run[0]
        before = found.string[found.start() - 1 : found.start()]
        spaced, close = found[0][0] == " ", not before or before in _NO_SPACE_BEHIND
        if found["word"]:
            # Upper and lower case are not always one: the pattern takes a dotless i for an i, folding does not.
            token = self._asked.get(found["word"].casefold())
        elif spaced or close:
            token = self._tokens.get(_spelling(run))
        else:
            token = None  # the 5 of "x=5" would come back as "x= 5"
        if token is None:
            return found.string[found.start() : run[-1].end()]
        return f" {token}" if spaced and before and close else token

    def show(self, text: str) -> str:
        """`text` with every token as its word is spelled; a token that stands for nothing is left out."""
        out = ""
        done = 0
        for found in _TOKEN.finditer(text):
            out += text[done : found.start()]
            spelling = self._shown.get(found["token"])
            if spelling is not None:
                space = found["space"] or (" " if out and out[-1] not in _NO_SPACE_BEHIND else "")
                out += space + spelling
            done = found.end()
        return out + text[done:]


def asks_for_several(question: str) -> bool:
    """Whether a question asks for several things or for their number, by its form alone: "How many", "List the", "What
    are", "all"."""
    return _SEVERAL.search(question) is not None


def singulars(word: str) -> tuple[str, ...]:
    """What `word`, case folded, may be the regular plural of."""
    if len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return ()
    ones = [word[:-1]]
    if word.endswith("ies"):
        ones.append(f"{word[:-3]}y")
    elif word.endswith(("ses", "xes", "ches", "shes")):
        ones.append(word[:-2])
    return tuple(one for one in ones if one not in COMMON)


_LISTED = (COMMON, OPENING, FRAME)
_Run = list[re.Match[str]]
"""A word of the question, or pieces of a name or number beside each other."""
_LONGEST = 6
_DAY = re.compile(r"\d{1,2}(?:st|nd|rd|th)?")
_YEAR = re.compile(r"\d{4}")


def _goes_on(run: _Run, found: re.Match[str]) -> bool:
    """Whether a piece belongs to the name or number before it."""
    last = run[-1]
    if not (last["number"] or _is_name(last["letters"])) or found["word"] or found[0][0] != " " or len(run) == _LONGEST:
        return False
    between = found.string[last.end() : found.start()]
    if between == ",":
        return _ends_date(run, found)
    if between and not (between == "." and _is_abbreviated(last["letters"])):
        return False
    return (bool(found["number"]) and not last["number"]) or _is_name(found["letters"])


def _ends_date(run: _Run, found: re.Match[str]) -> bool:
    """Whether a piece is the year of "July 9, 2017" or "9 July, 2017"."""
    if not found["number"] or not _YEAR.fullmatch(found["number"]):
        return False
    words = [piece["number"] or piece["letters"] for piece in run[-2:]]
    return words[-1] in MONTHS or (len(words) > 1 and words[0] in MONTHS and _DAY.fullmatch(words[1]) is not None)


def _is_abbreviated(word: str | None) -> bool:
    return word is not None and (word in TITLES or len(word) == 1)


def _spelling(run: _Run) -> str:
    return run[0].string[run[0].start() : run[-1].end()].removeprefix(" ")


def _is_common(word: str) -> bool:
    return word.casefold() in COMMON and (len(word) > 1 or word in "AI" or word.islower())  # "Line D" is not


def _is_name(word: str | None) -> bool:
    return word is not None and word[0].isupper() and word.casefold() not in OPENING and not _is_common(word)


def _is_rare(word: str | None) -> bool:
    return word is not None and word[0].islower() and len(word) > 1 and not any(word in words for words in _LISTED)


def _opens(run: _Run) -> bool:
    """Whether a capitalised word owes its capital to its sentence."""
    found = run[0]
    if len(run) > 1 or not found["letters"] or found["letters"].casefold() not in FRAME:
        return False
    begin, end, text = found.start("letters"), found.end("letters"), found.string
    if _BEGINNING.search(text[max(0, begin - _LOOK_BACK) : begin]) is None:
        return False
    behind = text[end : end + 2].lstrip(" ")[:1]
    return not (behind.isupper() or behind.isdigit())


@lru_cache(maxsize=256)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Finds a word of the question, else a number or code, else any word, with the space before it."""
    units = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True) if unit.casefold() not in words)
    number = rf"{_NUMBER}(?![^\W_])(?: ?(?:{units})(?![^\W_])){{0,2}}"
    kinds = [rf"(?<![^\W_])(?P<number>{number})", rf"(?<![^\W_])(?P<letters>{_LETTERS})(?![^\W_])"]
    # A number's digits within "1,912" or "4.9" are no word of their own.
    each = "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
    asked = rf"(?<![^\W_])(?<!\d[.,:])(?P<word>(?i:{each}))(?![^\W_])(?![.,:]\d)" if words else r"(?P<word>(?!))"
    return re.compile(rf" ?(?:{'|'.join((asked, *kinds))})")
