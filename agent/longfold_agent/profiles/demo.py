"""Prompt profile of the demo policy: raw completion prompts in its own special tokens. Knows no engine and no weights.

read:    <chunk>{text}<q> {question}<mem> {memory}<plan> {plan}<out>
         ->  <keep>  |  <quote> {quote}<mem> {memory}<plan> {plan}<eos>
answer:  <q> {question}[<opt> {option} A<opt> {option} B ...]<mem> {memory}<ans>
         ->  {value}[ {letter}]<eos>

The training package renders its rows with the functions of this module, so what is trained is what is served.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TypedDict

from longfold_agent.errors import InvalidReply, Unsupported
from longfold_agent.neutralise import neutralise
from longfold_agent.protocols import Budgets, Tokens
from longfold_agent.types import (
    Call,
    CallKind,
    Completion,
    FinalText,
    Prompt,
    Query,
    Reply,
    Sampling,
    Update,
    UpdateKind,
)

SPECIALS = ("<pad>", "<chunk>", "<q>", "<mem>", "<plan>", "<out>", "<eos>", "<ans>", "<opt>", "<keep>", "<quote>")
"""The policy's special tokens; their ids are their places in this tuple."""
PAD, CHUNK, QUESTION, MEMORY, PLAN, OUT, EOS, ANS, OPT, KEEP, QUOTE = range(len(SPECIALS))
NOTHING = "none"
"""How an empty memory or plan is written."""
AFTER_FIND = "watch for changes"
"""The plan once a value has been found: values may change later in the documents."""
UNKNOWN = "unknown"
"""The answer when nothing was found."""
LETTERS = "ABCDEF"


def render_chunk(text: str) -> str:
    """The part of a read prompt that all questions on one chunk share."""
    return f"<chunk>{text}"


def render_question(question: str, memory: str, plan: str) -> str:
    """The part of a read prompt after the chunk."""
    return f"<q> {question}<mem> {memory or NOTHING}<plan> {plan or NOTHING}<out>"


def render_update(quote: str, memory: str, plan: str) -> str:
    """The reply that rewrites memory and plan; `quote` is the chunk's own words that lead to the value."""
    return f"<quote> {quote}<mem> {memory}<plan> {plan}<eos>"


def render_answer(question: str, options: Sequence[str], memory: str) -> str:
    """The answer prompt; `options` are the texts of the letters A, B, ...

    A letter stands behind its option, and the reply says the value before the letter: both are then copied, not
    compared.
    """
    choices = "".join(f"<opt> {option} {letter}" for letter, option in zip(LETTERS, options, strict=False))
    return f"<q> {question}{choices}<mem> {memory or NOTHING}<ans>"


def render_reply(value: str, letter: str = "") -> str:
    """The reply to the answer prompt; `letter` where there are options and one of them is the value."""
    return f" {value} {letter}<eos>" if letter else f" {value}<eos>"


def read_reply(reply: str, options: Sequence[str]) -> str:
    """What a reply answers: with options the letter of the one it names, else the value.

    The value decides where it is one of the options, since the letter follows from it; the letter where it is none.
    """
    text = reply.strip().removesuffix("<eos>").strip()
    texts = [_plain(option) for option in options[: len(LETTERS)]]
    value, _, letter = text.rpartition(" ")
    for said in (text, value):
        if said and _plain(said) in texts:
            return LETTERS[texts.index(_plain(said))]
    return letter if letter in tuple(LETTERS[: len(texts)]) else text


def memory_line(attribute: str, entity: str, value: str) -> str:
    """The memory the policy is taught to write: one line a person can read."""
    return f"{attribute} of {entity}: {value}"


BUDGETS = Budgets(
    chunk=256,
    memory=160,  # one line: three words of attribute, a name and a value never come near this
    plan=16,
    read_output=192,
    answer_output=96,
    retries=1,
)
KEEP_BIAS = 0.0
"""Added to the logit of <keep>: a false write can spoil the memory of a long reading, a missed fact costs one fact."""
RETRY_TEMPERATURE = 0.5
"""A retry at temperature 0 would repeat the bad reply."""
PARSER = 2
"""Raised with every change of the parsing rules, so that no state is continued under other rules than it was begun."""
NOTICE = (
    "Answered by the demo policy, a model of three million parameters that only looks up stated attributes of named "
    "things (\u201cWhat is the access code of Norbel?\u201d). It shows how reading works; do not rely on its answers."
)


@dataclass(frozen=True, slots=True)
class DemoProfile:
    """The `Profile` of the demo policy."""

    budgets: Budgets = BUDGETS
    keep_bias: float = KEEP_BIAS
    name: str = "demo"
    gate: bool = True
    notice: str = NOTICE
    version: str = field(init=False)

    def __post_init__(self) -> None:
        parts = [PARSER, SPECIALS, NOTHING, AFTER_FIND, asdict(self.budgets), self.keep_bias, RETRY_TEMPERATURE]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        object.__setattr__(self, "version", f"demo-{digest[:16]}")

    def decompose(self, question: str) -> Query | tuple[Prompt, Sampling]:
        """By rule, without a call: options and requests about the answer's form leave the question
        (`split_question`)."""
        return split_question(question)

    def parse_decomposition(self, question: str, completion: Completion) -> Query:
        return split_question(question)

    def render(self, call: Call, text: str = "") -> Prompt:
        question = _line(call.question)
        if call.kind is CallKind.READ:
            chunk = render_chunk(neutralise(text, SPECIALS))
            return Prompt(chunk + render_question(question, _line(call.memory), _line(call.plan)))
        return Prompt(
            render_answer(question, [_line(option) for option in options_in(call.instructions)], _line(call.memory))
        )

    def render_direct(self, query: Query, documents: Sequence[tuple[str, str]]) -> Prompt:
        raise Unsupported("the demo policy answers from its memory only; it has no single pass")

    def sampling(self, call: Call) -> Sampling:
        extra = {"skip_special_tokens": False}
        if call.kind is CallKind.ANSWER:
            return Sampling(self.budgets.answer_output, **_warmth(call.attempt), stop_token_ids=(EOS,), extra=extra)
        bias = {KEEP: self.keep_bias} if self.keep_bias else {}
        return Sampling(
            self.budgets.read_output, **_warmth(call.attempt), stop_token_ids=(EOS, KEEP), logit_bias=bias, extra=extra
        )

    def sampling_direct(self) -> Sampling:
        raise Unsupported("the demo policy has no single pass")

    def parse(self, call: Call, completion: Completion, text: str, tokens: Tokens) -> Reply:
        """A read gives an `Update` for any reply at all; the answer gives `FinalText` or raises `InvalidReply`.

        A written value must stand in the chunk, and so must a word of the name it is written for: a reply that the
        chunk cannot support is INVALID, whatever the policy believes.
        """
        if call.kind is CallKind.ANSWER:
            answer = read_reply(completion.text, [_line(option) for option in options_in(call.instructions)])
            if not answer or _SPECIAL.search(answer):
                raise InvalidReply("the answer is empty" if not answer else "the answer holds special tokens")
            return FinalText(answer)
        reply = completion.text.strip()
        if reply == SPECIALS[KEEP] or (not reply and completion.stop_reason == KEEP):
            return Update(UpdateKind.KEEP)
        if completion.finish_reason == "length" and not reply.endswith(SPECIALS[EOS]):
            return _invalid("cut by the output limit")
        parsed = None if completion.stop_reason == KEEP else parse_update(reply)
        if parsed is None:
            return _invalid("empty" if not reply else "not of the form <quote> quote<mem> memory<plan> plan")
        memory, plan = parsed
        if tokens.count(memory) > self.budgets.memory:
            return _invalid("memory over budget")
        if tokens.count(plan) > self.budgets.plan:
            return _invalid("plan over budget")
        if memory == call.memory and plan == call.plan:
            return Update(UpdateKind.KEEP)
        if not grounded(memory, call.memory, neutralise(text, SPECIALS)):
            return _invalid("the value does not stand in the text")
        return Update(UpdateKind.REWRITE, memory, plan)

    def parse_direct(self, completion: Completion) -> str:
        raise Unsupported("the demo policy has no single pass")


def profile(budgets: Budgets = BUDGETS) -> DemoProfile:
    return DemoProfile(budgets)


_SPECIAL = re.compile("|".join(re.escape(special) for special in SPECIALS))
_PLAIN_TEXT = rf"(?:(?!{_SPECIAL.pattern}).)*"
"""Anything but special tokens: a quote or a value may well hold a "<"."""
_UPDATE = re.compile(
    rf"(?:<quote>{_PLAIN_TEXT})?<mem>(?P<memory>{_PLAIN_TEXT})<plan>(?P<plan>{_PLAIN_TEXT})(?:<eos>)?", re.DOTALL
)


def parse_update(reply: str) -> tuple[str, str] | None:
    """Memory and plan of a rewriting reply, None for any other text; a memory without letters or digits is none."""
    found = _UPDATE.fullmatch(reply.strip())
    if found is None:
        return None
    memory, plan = (" ".join(found[part].split()) for part in ("memory", "plan"))
    if memory == NOTHING or not any(sign.isalnum() for sign in memory):
        return None
    return memory, "" if plan == NOTHING else plan


def grounded(memory: str, before: str, text: str) -> bool:
    """Whether `text` can support the line `memory` ("attribute of name: value"); the line before supports itself.

    The value must stand in the text as a whole, case and spacing aside, and so must at least one word of the name.
    """
    if memory == before:
        return True
    seen = _plain(text)
    for colon in re.finditer(": ", memory):
        key, value = memory[: colon.start()], _plain(memory[colon.end() :])
        name = re.findall(r"\w+", _plain(key.rsplit(" of ", 1)[-1]).removeprefix("the "))
        if (
            value
            and _stands(value, seen)
            and (not name or any(re.search(rf"\b{re.escape(word)}", seen) for word in name))
        ):
            return True
    return False


def _stands(value: str, text: str) -> bool:
    """Whether `value` stands in `text`, not as a part of a longer word or number."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _line(text: str) -> str:
    """Untrusted text as one line without special tokens."""
    return neutralise(" ".join(text.split()), SPECIALS)


def _warmth(attempt: int) -> _Warmth:
    return {"temperature": RETRY_TEMPERATURE, "seed": attempt} if attempt else {"temperature": 0.0, "seed": None}


class _Warmth(TypedDict):
    temperature: float
    seed: int | None


def _invalid(reason: str) -> Update:
    return Update(UpdateKind.INVALID, reason=reason)


# --- the rule that takes a user's question apart ---

_STRONG = (r"\({}\)", r"\[{}\]", r"{}\)", r"{}\]")
_WEAK = (r"{}\.(?=\s|\d)", r"{}:", r"{} [-\u2013\u2014](?=\s)")
"""Ways to mark an option; the weak ones also occur in names ("Dr. A. Smith", "Plan B: ...")."""
_BEFORE = r"(?:^|(?<=[\s,;:?|]))(?:[-*\u2022]\s+)?(?:\*\*)?"
_AFTER = r"(?:\*\*)?(?=\s*\S)"
_LEAD = re.compile(
    r"(?:^|(?<=[.?!:;,\n]))\s*(?:"
    r"(?:here are )?(?:(?:the|your|possible|answer) )*(?:options|choices|answers)(?: are)?"
    r"|(?:please )?(?:choose|select|pick)"
    r"(?: (?:one|from|of|between|the|these|following|options|answers?|correct|right))*"
    r")\s*:?\s*$",
    re.IGNORECASE,
)
"""Words that announce the options."""
_FORM = re.compile(
    r"(?:(?<=[.?!])|(?<=[.?!][\"')\u201d]))\s+(?=\(?(?:please\s+)?(?:"
    r"(?:answer|reply|respond|explain|format)\b"
    r"|(?:give|return|output|write|state|print|say)\s+(?:me\s+)?(?:only|just|the\s+answer|your|the\s+letter|nothing)\b"
    r"|use\s+(?:json|at\s+most|only|one|no|a\s+single|digits|the\s+form)\b"
    r"|keep\s+(?:it|the\s+answer|your)\b|(?:do\s+not|don't)\s+(?:explain|add|write|give|use|include|say)\b"
    r"|no\s+(?:explanations?|comments?|other|more|further|extra|words|text)\b"
    r"|in\s+(?:one|a\s+single|json|at\s+most)\b"
    r"|(?:only|just)\s+(?:the|answer|reply|give)\b|(?:choose|select|pick)\s+(?:one|the|from)\b))",
    re.IGNORECASE,
)
"""Where sentences about the answer's form begin."""
_LOOSE_FORM = re.compile(
    r"\s+(?=\(?(?:Please )?(?:[Aa]nswer|[Rr]eply|[Rr]espond) (?:with|by|using|in|only)\b"
    r"|Please (?:choose|select|pick)\b)"
)
"""The same behind the last option, where no mark need end it."""
_JOINT = re.compile(r"(?:[\s,;|/]+(?:and|or)?|\s*\*\*|\s+[-*\u2022])\s*$", re.IGNORECASE)
_AND = re.compile(r"[\s,;]and\s*$", re.IGNORECASE)
_SHORT = re.compile(
    r"(?:\b(?:dr|mr|mrs|ms|prof|st|capt|col|gen|lt|sgt|rev|hon|messrs|etc|inc|ltd|co|corp|jr|sr|no|vs)"
    r"|(?<![^\W_])[^\W\d_])\.$",
    re.IGNORECASE,
)
"""A full stop that ends no sentence: a title, a short form or an initial."""
_OPTION = re.compile(r"([A-Z])\) (.+)")


def split_question(question: str) -> Query:
    """q_core and q_inst by rule: lettered options, and sentences about the answer's form behind the question.

    The policy understands options ("A) 12 B) 14", also "A.", "(A)", "A:", "[A]", "A -", inline or on lines, two to
    six); it ignores requests about form, which are kept as instructions all the same. Of the question's words only the
    options' marks and the "and" or "or" between options stand in neither part.
    """
    text = question.strip()
    found = _choice(text)
    if found is None:
        core, form = _cut(text, _FORM)
        return Query(core, form)
    core, options, rest = found
    core, form = _cut(core, _FORM)
    announced = form or core
    lead = _LEAD.search(announced)
    said = ""
    if lead is not None:
        said, announced = announced[lead.start() :].strip(), announced[: lead.start()].strip()
        core, form = (core, announced) if form else (announced, form)
    if not core:
        return Query(text)
    if len(options) > len(LETTERS):  # more than the policy knows letters for: it answers with the value
        marked = " ".join(f"{chr(ord('A') + place)}) {option}" for place, option in enumerate(options))
        return Query(core, "\n".join(filter(None, (form, f"{said or 'Options:'} {marked}", rest))))
    lines = [f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return Query(core, "\n".join(filter(None, (form, said, *lines, rest))))


def options_in(instructions: str) -> list[str]:
    """The options `split_question` put into a query's instructions, in order: lines "A) ...", "B) ..." and so on."""
    options: list[str] = []
    for line in instructions.splitlines():
        found = _OPTION.fullmatch(line.strip())
        if len(options) < len(LETTERS) and found is not None and found[1] == LETTERS[len(options)]:
            options.append(found[2].strip())
        elif options:
            break
    return options if len(options) > 1 else []


def _choice(text: str) -> tuple[str, list[str], str] | None:
    """Core question, options and what follows them; None when the text has no options."""
    for strong, marks in ((True, _STRONG), (False, _WEAK)):
        for on_lines in (True, False):
            for mark in marks:
                for first in ("A", "a"):
                    found = _options(text, mark, first, strong=strong, on_lines=on_lines)
                    if found is not None:
                        return found
    return None


def _options(text: str, mark: str, first: str, *, strong: bool, on_lines: bool) -> tuple[str, list[str], str] | None:
    """The options with one kind of mark, begun by the first place from which a believable row of letters follows."""
    letters = [chr(ord(first) + place) for place in range(26)]
    in_sentence = None
    shape = (r"^[ \t]*(?:[-*\u2022]\s+)?(?:\*\*)?" if on_lines else _BEFORE) + mark + _AFTER
    for start in re.finditer(shape.format(letters[0]), text, re.MULTILINE):
        starts = [start]
        for letter in letters[1:]:
            following = re.compile(shape.format(letter), re.MULTILINE).search(text, starts[-1].end())
            if following is None:
                break
            starts.append(following)
        if len(starts) < 2:
            return None
        found = _texts(text, starts)
        if found is not None and (on_lines or _ends_sentence(text[: start.start()])):
            return found
        if in_sentence is None and _believable(text, starts, strong=strong):
            in_sentence = found
    return in_sentence


def _ends_sentence(before: str) -> bool:
    """Whether what stands before the first option is complete."""
    stripped = before.rstrip()
    if "\n" in before[len(stripped) :] or stripped.endswith(("?", "!", ":", ";")):
        return True
    return stripped.endswith(".") and not _SHORT.search(stripped)


def _believable(text: str, starts: Sequence[re.Match[str]], *, strong: bool) -> bool:
    """Whether marks in the middle of a sentence are options rather than parts of names."""
    gaps = [text[start.end() : end.start()] for start, end in pairwise(starts)]
    word = text[: starts[0].start()].split()[-1:]
    if any("?" in gap or _AND.search(gap) or gap.split()[-1:] == word for gap in gaps):
        return False
    return strong or (len(starts) > 2 and not any(_JOINT.search(gap.rstrip()) for gap in gaps))


def _texts(text: str, starts: Sequence[re.Match[str]]) -> tuple[str, list[str], str] | None:
    """The text before the marks, the texts between them and what follows the last one's line."""
    core = text[: starts[0].start()].strip()
    ends = [start.start() for start in starts[1:]] + [len(text)]
    options = [text[start.end() : end].strip() for start, end in zip(starts, ends, strict=True)]
    last, _, rest = options[-1].partition("\n")
    last, form = _cut(last, _FORM)
    if not form:
        last, form = _cut(last, _LOOSE_FORM)
    options[-1] = last
    options = [_JOINT.sub("", " ".join(option.split())) for option in options]
    stops = [option.endswith(".") and not _SHORT.search(option) for option in options]
    if all(stops) or not any(stops[:-1]):
        options = [option.removesuffix(".") if stop else option for option, stop in zip(options, stops, strict=True)]
    options[-1] = options[-1].rstrip("?").rstrip()
    if not core or not all(any(sign.isalnum() for sign in option) for option in options):
        return None
    return core, options, "\n".join(filter(None, (form, rest.strip())))


def _cut(text: str, where: re.Pattern[str]) -> tuple[str, str]:
    """`text` before and behind the first place where sentences about form begin; a question never stays behind."""
    for found in where.finditer(text):
        before, behind = text[: found.start()].strip(), text[found.end() :].strip()
        if before and ("?" in before or "?" not in behind):
            return before, behind
    return text, ""
