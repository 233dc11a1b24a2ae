"""Makes untrusted text harmless inside a prompt: special-token look-alikes and our tags lose their first character to
a look-alike of the same length. Knows no profile and no tokenizer; a served model's own special tokens are passed in.

Every character becomes exactly one character, so offsets into a neutralised text are offsets into the original.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

OUR_TAGS = (
    "memory", "previous_memory", "updated_memory", "new_memory", "plan", "previous_plan", "updated_plan",
    "new_plan", "problem", "section", "chunk", "q", "mem", "out", "keep", "eos", "ans", "opt", "pad", "think",
    "question", "answer", "document", "documents", "instruction", "instructions",
)  # fmt: skip
"""Tag names our prompt profiles use; in a document they could imitate the frame around it."""

MODEL_TAGS = (
    "s", "bos", "unk", "cls", "sep", "mask", "sos", "thinking", "reasoning", "thought", "system", "user",
    "assistant", "human", "tool", "tools", "tool_call", "tool_calls", "tool_response", "tool_result",
    "function_call", "start_of_turn", "end_of_turn", "start_of_image", "end_of_image", "image_soft_token",
    "im_start", "im_end", "endoftext", "end_of_text", "begin_of_text", "start_of_text", "fim_prefix", "fim_middle",
    "fim_suffix", "fim_pad", "file_sep", "repo_name", "extra_id_#", "unused#", "reserved_#", "special_#", "eot",
    "eop", "eod",
)  # fmt: skip
"""Special tokens of common open models that are written as plain tags; `#` stands for a number."""

MODEL_BRACKETS = (
    "inst", "sys", "unk", "cls", "sep", "pad", "mask", "bos", "eos", "gmask", "smask", "img", "img_break",
    "img_end", "think", "system_prompt", "available_tools", "tool_calls", "tool_results", "tool_content", "call_id",
    "args", "prefix", "suffix", "middle", "model_settings", "control_#", "unused#",
)  # fmt: skip
"""Special tokens of common open models that are written in square brackets."""

_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
)
_SKIP = f"[{_INVISIBLE}]*+"
_GAP = f"[\\s/\\\\{_INVISIBLE}]*+"
_BAR = "[|\u00a6\u01c0\u2223\u2502\uff5c]"
# Both members of each class are treated alike everywhere but at the start of a match: what is replaced can neither
# make nor break another match, which is why one pass is enough and a second changes nothing.
_LESS = "<\u2039\uff1c\ufe64"
_MORE = ">\uff1e\ufe65"
_LOOKALIKE = {
    "<": "\u2039\u27e8\u02c2\u276e",
    "[": "\u2045\u27e6\u3014\u2772",
    "{": "\u2774\u2983",
    "|": "\u01c0\u2223",
    "\u2581": "_\u2582",
}
_OTHERWISE = "\ufffd\u25a1\u25a0"
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0xFE64: ord("<"), 0xFE65: ord(">")}
_WIDE_SIGNS = re.compile("[\uff01-\uff5e\ufe64\ufe65]")
_STARTS = re.compile("[<\\[\uff1c\ufe64\uff3b]")
_PLAIN_TAG = re.compile(r"</?([A-Za-z][\w.\- ]*)>")
_PLAIN_BRACKET = re.compile(r"\[/?([A-Za-z][\w.\- ]*)\]")


def neutralise(text: str, specials: Iterable[str] = ()) -> str:
    """`text` with every special-token look-alike and every prompt tag broken.

    Broken are `<|...` in all spellings, the tags and bracket tokens named in this module (any case, with spaces,
    slashes, attributes, full-width or invisible characters inside) and each of `specials`. Other uses of `<` and `[`
    stay: `a < b`, `<div>`, `x[0]`. The result has the same length, `neutralise` of it is itself, and the time is
    linear in the text.

    specials: the served tokenizer's added tokens (`load_tokens(path).specials`, or "added_tokens"[*]["content"] of
    tokenizer.json). Specials made of whitespace only cannot be told from text and are ignored.
    """
    extra = tuple(sorted({special for special in specials if special.strip()}))
    rules, replacement, always = _compile(extra)
    if not always and not _STARTS.search(text):
        return text
    broken = _break(text, rules, replacement)
    while (
        always and broken != text
    ):  # a special may begin with a sign that another rule stops at; the next pass sees past it
        text, broken = broken, _break(broken, rules, replacement)
    return broken


def _break(text: str, rules: re.Pattern[str], replacement: _Replacement) -> str:
    folded = text.translate(_WIDE) if _WIDE_SIGNS.search(text) else text
    parts: list[str] = []
    done = 0
    for match in rules.finditer(folded):
        at = match.start()
        parts += (text[done:at], replacement(folded[at]))
        done = at + 1
    return "".join((*parts, text[done:])) if parts else text


class _Replacement:
    """Chooses for a character a look-alike that occurs in none of the specials."""

    def __init__(self, specials: tuple[str, ...]) -> None:
        self._taken = frozenset("".join(specials))

    def __call__(self, char: str) -> str:
        choices = _LOOKALIKE.get(char, "") + _OTHERWISE
        return next((choice for choice in choices if choice not in self._taken), _OTHERWISE[0])


@lru_cache(maxsize=16)
def _compile(specials: tuple[str, ...]) -> tuple[re.Pattern[str], _Replacement, bool]:
    """The rules as one pattern that matches the characters to replace, their replacement, and whether any text may
    match (else only texts with an opening sign do)."""
    tags, brackets, literals = set(OUR_TAGS + MODEL_TAGS), set(MODEL_BRACKETS), set[str]()
    for special in specials:
        if tag := _PLAIN_TAG.fullmatch(special):
            tags.add(tag[1].lower())
        elif bracket := _PLAIN_BRACKET.fullmatch(special):
            brackets.add(bracket[1].lower())
        literals.add(special.translate(_WIDE))
    end = f"(?:{_GAP}[{_MORE}]|[\\s{_INVISIBLE}][^={_LESS}{_MORE}]*+=[^{_LESS}{_MORE}]*+[{_MORE}])"
    after_less = (
        f"{_SKIP}{_BAR}",
        f"{_GAP}{_BAR}[^{_LESS}{_MORE}|]*+{_BAR}{_GAP}[{_MORE}]",
        f"[^\\s|{_LESS}{_MORE}]*+\\|{_SKIP}[{_MORE}]",
        f"{_GAP}(?:{_names(tags)}){end}",
        f"{_SKIP}<{_GAP}sys{_GAP}>",
    )
    signs = {
        "<": "|".join(after_less),
        "\\[": f"{_GAP}(?:{_names(brackets)}){_GAP}\\]",
    }
    rules = [f"{sign}(?={rest})" for sign, rest in signs.items()]
    rules += [f"(?-i:{re.escape(literal[0])}(?={re.escape(literal[1:])}))" for literal in sorted(literals)]
    always = any(literal[0] not in "<[" for literal in literals)
    return re.compile("|".join(rules), re.IGNORECASE), _Replacement(specials), always


def _names(names: Iterable[str]) -> str:
    """An alternation of tag names that ignores invisible characters and takes `_`, `-` and blanks for one another;
    longest first."""
    letter = {"#": "\\d+", "_": "[\\s_-]", "-": "[\\s_-]", " ": "[\\s_-]"}
    ordered = sorted(names, key=lambda name: (-len(name), name))
    return "|".join(_SKIP.join(letter.get(char, re.escape(char)) for char in name) for name in ordered)
