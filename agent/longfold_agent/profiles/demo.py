"""Prompt profile of the demo policy: raw completion prompts in its own special tokens. Knows no engine and no weights.

read:    <q> {question}<mem> {memory}<plan> {plan}<chunk>{text}<out>
         ->  <keep>  |  <mem> {memory}<plan> {plan}<eos>
         where several things are asked for, <mem> stands in the text for each that memory holds, and a reply names
         one more; the chunk is read until it holds none
answer:  <q> {question}[<opt> {option} A<opt> {option} B ...]<mem> {memory}<ans>
         ->  {value}[ {letter}]<eos>
direct:  <q> {question}[<opt> {option} A<opt> {option} B ...]<chunk>{text}<ans>
         ->  {value}[ {letter}]<eos>

The last is for weights that were trained on it, which their config.json tells (`direct_tokens`). The question's own
words, names, numbers and rarer words stand as numbered tokens in all of it (`placeholders`). The training package
renders its rows with the functions of this module, so what is trained is what is served.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from longfold_agent.errors import InvalidReply, Unsupported
from longfold_agent.neutralise import neutralise
from longfold_agent.profiles import lexicon, placeholders
from longfold_agent.profiles.choices import LETTERS, options_in, split_question
from longfold_agent.profiles.layout import without_layout
from longfold_agent.profiles.placeholders import Placeholders
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

SPECIALS = (
    "<pad>", "<chunk>", "<q>", "<mem>", "<plan>", "<out>", "<eos>", "<ans>", "<opt>", "<keep>", *placeholders.TOKENS
)  # fmt: skip
"""The policy's special tokens; their ids are their places in this tuple."""
PAD, CHUNK, QUESTION, MEMORY, PLAN, OUT, EOS, ANS, OPT, KEEP = range(10)
NOTHING = "none"
"""How an empty memory or plan is written."""
AFTER_FIND = "watch for changes"
"""The plan once a value has been found: values may change later in the documents."""
BETWEEN = "; "
"""Stands between the items of a memory that holds several, and of an answer that lists them."""
_FIND = "find the "
"""How a plan begins that says what to find."""
UNKNOWN = "unknown"
"""The answer when nothing was found."""
DIRECT_TOKENS = "longfold_direct_tokens"
"""Key of a policy's config.json: most tokens of text that its weights answer from in a single pass."""


def read_words(question: str, memory: str, text: str) -> Placeholders:
    """The numbered tokens of a reading step."""
    return Placeholders(question, (memory,), text)


def hide_text(words: Placeholders, memory: str, text: str) -> str:
    """The chunk as a reading step shows it. Where the question asks for several things, <mem> stands for each that the
    line `memory` lists: that a thing is new is then seen, not compared.

    One that shares a word with the question stays as it is: the text may name with it what is asked about.
    """
    _, _, value = memory.partition(": ")
    items = [item.split() for item in value.split(BETWEEN)] if words.several else []
    asked = words.words.keys()
    listed = [item for item in items if item and asked.isdisjoint(_WORD.findall(" ".join(item).casefold()))]
    if not listed:
        return words.hide(text)
    longest = sorted((r"\s+".join(map(re.escape, item)) for item in listed), key=len, reverse=True)
    parts = re.split(rf" ?(?<!\w)(?:{'|'.join(longest)})(?!\w)", text, flags=re.IGNORECASE)
    return SPECIALS[MEMORY].join(map(words.hide, parts))


def answer_words(question: str, options: Sequence[str], memory: str) -> Placeholders:
    """The numbered tokens of an answer."""
    return Placeholders(question, (memory, *options))


def render_read(question: str, memory: str, plan: str, text: str) -> str:
    """The prompt that asks for the new memory after `text`."""
    words = read_words(question, memory, text)
    state = f"<mem> {words.hide(memory) or NOTHING}<plan> {_hidden_plan(words, plan) or NOTHING}"
    return f"<q> {words.hide(question)}{state}<chunk>{hide_text(words, memory, text)}<out>"


def render_update(words: Placeholders, memory: str, plan: str) -> str:
    """The reply that rewrites memory and plan."""
    return f"<mem> {words.hide(memory)}<plan> {_hidden_plan(words, plan)}<eos>"


def _hidden_plan(words: Placeholders, plan: str) -> str:
    """A plan names what to look for in words of the question and of memory; the one that names nothing stays."""
    return plan if plan == AFTER_FIND else words.hide(plan)


def render_answer(question: str, options: Sequence[str], memory: str) -> str:
    """The answer prompt; `options` are the texts of the letters A, B, ...

    A letter stands behind its option, and the reply says the value before the letter: both are then copied, not
    compared.
    """
    hide = answer_words(question, options, memory).hide
    return f"<q> {hide(question)}{_choices(hide, options)}<mem> {hide(memory) or NOTHING}<ans>"


def direct_words(question: str, options: Sequence[str], text: str) -> Placeholders:
    """The numbered tokens of a single pass."""
    return Placeholders(question, options, text)


def render_direct(question: str, options: Sequence[str], text: str) -> str:
    """The prompt that asks for the answer from `text` itself; its reply is that of an answer."""
    hide = direct_words(question, options, text).hide
    return f"<q> {hide(question)}{_choices(hide, options)}<chunk>{hide(text)}<ans>"


def _choices(hide: Callable[[str], str], options: Sequence[str]) -> str:
    return "".join(f"<opt> {hide(option)} {letter}" for letter, option in zip(LETTERS, options, strict=False))


def render_reply(words: Placeholders, value: str, letter: str = "") -> str:
    """The reply to the answer prompt; `letter` where there are options and one of them is the value."""
    hidden = words.hide(value)
    return f" {hidden} {letter}<eos>" if letter else f" {hidden}<eos>"


def render_count(number: int) -> str:
    """The reply that says how many there are: a digit that is counted, not copied, wherever else it stands."""
    return f" {number}<eos>"


def read_reply(words: Placeholders, reply: str, options: Sequence[str]) -> str:
    """What a reply answers: with options the letter of the one it names, else the value.

    The value decides where it is one of the options, since the letter follows from it; the letter where it is none.
    """
    text = words.show(reply.strip().removesuffix("<eos>")).strip()
    texts = [_plain(option) for option in options[: len(LETTERS)]]
    value, _, letter = text.rpartition(" ")
    for said in (text, value):
        if said and _plain(said) in texts:
            return LETTERS[texts.index(_plain(said))]
    return letter if letter in tuple(LETTERS[: len(texts)]) else text


def memory_line(attribute: str, entity: str, value: str) -> str:
    """The memory the policy is taught to write: one line a person can read."""
    return f"{attribute} of {entity}: {value}"


def one_line(memory: str) -> str:
    """A memory of an item a line as prompts show it: "things of name: item; item"."""
    first, *rest = (" ".join(line.split()) for line in memory.split("\n"))
    key = first[: first.find(": ") + 2] if ": " in first else ""
    return BETWEEN.join([first, *(line.removeprefix(key) for line in rest)])


def item_lines(line: str) -> str:
    """The memory of an item a line that `one_line` makes `line` of, so that each item has a provenance of its own."""
    key, colon, value = line.partition(": ")
    return "\n".join(key + colon + item for item in value.split(BETWEEN))


def find_plan(attribute: str, entity: str) -> str:
    """The plan while the thing that is asked about is known and its attribute is not."""
    return f"{_FIND}{attribute} of {entity}"


def seeks(plan: str) -> bool:
    """Whether a plan says what to find, as `find_plan` does."""
    return plan.startswith(_FIND)


def reads_again(question: str, plan: str) -> bool:
    """Whether a chunk that was written for is read once more: it may hold more of several things, or what the new plan
    seeks."""
    return placeholders.asks_for_several(question) or seeks(plan)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a prompt shows of a reading's state."""

    question: str
    memory: str
    """One line."""
    plan: str
    known: str
    """The memory's lines that are not shown; what is written goes behind them."""

    def taken(self, memory: str) -> str:
        """The whole memory when the one shown has become the line `memory`."""
        line = item_lines(memory) if placeholders.asks_for_several(self.question) else memory
        return f"{self.known}\n{line}" if self.known else line


def shown(question: str, memory: str, plan: str) -> Shown:
    """What to show of a state: all of it, in one line, while the question itself is looked up. Once the plan says what
    to find, or memory holds what it said, the policy is asked for that, as in a question for one fact.

    Special tokens in it are neutralised.
    """
    question, plan = _line(without_layout(question)), _line(plan)
    if placeholders.asks_for_several(question):
        return Shown(question, _line(one_line(memory)), plan, "")
    if seeks(plan):
        return Shown(f"What is the {plan.removeprefix(_FIND)}?", "", "", memory)
    known, _, line = memory.rpartition("\n")
    if known:
        question = f"What is the {line.partition(': ')[0]}?"
    return Shown(_line(question), _line(line), plan, known)


def shown_text(text: str) -> str:
    """Untrusted text as prompts show it: without special tokens, and without layout, which is in no training row."""
    return neutralise(without_layout(text), SPECIALS)


BUDGETS = Budgets(
    chunk=256,
    memory=160,  # one line: three words of attribute, a name and six names as its value never come near this
    plan=32,  # four words around an attribute and a name
    read_output=192,
    answer_output=96,
    retries=3,  # a value that is said wrong does not stand in the chunk, so it can be asked for again
    direct=0,  # no single pass, unless the weights say that they know it
)
KEEP_BIAS = 0.0
"""Added to the logit of <keep>: a false write can spoil the memory of a long reading, a missed fact costs one fact."""
RETRY_TEMPERATURE = 0.5
"""A retry at temperature 0 would repeat the bad reply."""
PARSER = 10
"""Raised with every change of the parsing rules, so that no state is continued under other rules than it was begun."""
NOTICE = (
    "Answered by the demo policy, a model of four million parameters that only looks up stated attributes of named "
    "things, by the question's own words (\u201cWhat is the access code of Norbel?\u201d). It shows how reading works; "
    "do not rely on its answers."
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
        parts = [
            PARSER,
            SPECIALS,
            *(sorted(words) for words in (lexicon.COMMON, lexicon.OPENING, lexicon.FRAME, lexicon.MONTHS)),
            lexicon.UNITS,
            lexicon.TITLES,
            NOTHING,
            AFTER_FIND,
            self.budgets.identity(),
            self.keep_bias,
            RETRY_TEMPERATURE,
        ]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        object.__setattr__(self, "version", f"demo-{digest[:16]}")

    def decompose(self, question: str) -> Query | tuple[Prompt, Sampling]:
        """By rule, without a call: options and requests about the answer's form leave the question
        (`split_question`)."""
        return split_question(question)

    def parse_decomposition(self, question: str, completion: Completion) -> Query:
        return split_question(question)

    def render(self, call: Call, text: str = "") -> Prompt:
        seen = shown(call.question, call.memory, call.plan)
        if call.kind is CallKind.READ:
            return Prompt(render_read(seen.question, seen.memory, seen.plan, shown_text(text)))
        options = [_line(option) for option in options_in(call.instructions)]
        return Prompt(render_answer(seen.question, options, seen.memory))

    def render_direct(self, query: Query, documents: Sequence[tuple[str, str]]) -> Prompt:
        if not self.budgets.direct:
            raise Unsupported("the demo policy answers from its memory only; it has no single pass")
        return Prompt(render_direct(*_parts(query, documents)))

    def sampling(self, call: Call) -> Sampling:
        if call.kind is CallKind.ANSWER:
            return self._answering(call.attempt)
        bias = {KEEP: self.keep_bias} if self.keep_bias else {}
        return Sampling(
            self.budgets.read_output, **_warmth(call.attempt), stop_token_ids=(EOS, KEEP), logit_bias=bias, extra=_EXTRA
        )

    def sampling_direct(self, attempt: int = 0) -> Sampling:
        return self._answering(attempt)

    def _answering(self, attempt: int) -> Sampling:
        return Sampling(self.budgets.answer_output, **_warmth(attempt), stop_token_ids=(EOS,), extra=_EXTRA)

    def parse(self, call: Call, completion: Completion, text: str, tokens: Tokens) -> Reply:
        """A read gives an `Update` for any reply at all; the answer gives `FinalText` or raises `InvalidReply`.

        A written value must stand in the chunk, and so must a word of the name it is written for: a reply that the
        chunk cannot support is INVALID, whatever the policy believes. Where the question asks for several things, so
        must each that is new; they are added to those of the memory before (`parse_update`), and the chunk is read
        again for more. So is a chunk that has led to a plan, by that plan.
        """
        seen = shown(call.question, call.memory, call.plan)
        if call.kind is CallKind.ANSWER:
            options = [_line(option) for option in options_in(call.instructions)]
            words = answer_words(seen.question, options, seen.memory)
            return FinalText(_said(words, completion, options))
        reply = completion.text.strip()
        if reply == SPECIALS[KEEP] or (not reply and completion.stop_reason == KEEP):
            return Update(UpdateKind.KEEP)
        if completion.finish_reason == "length" and not reply.endswith(SPECIALS[EOS]):
            return _invalid("cut by the output limit")
        words = read_words(seen.question, seen.memory, shown_text(text))
        parsed = None if completion.stop_reason == KEEP else parse_update(words, reply, seen.memory)
        if parsed is None:
            return _invalid("empty" if not reply else "not of the form <mem> memory<plan> plan")
        memory, plan = parsed
        if tokens.count(seen.known) + tokens.count(memory) > self.budgets.memory:
            return _invalid("memory over budget")
        if tokens.count(plan) > self.budgets.plan:
            return _invalid("plan over budget")
        if memory == seen.memory and plan == seen.plan:
            return Update(UpdateKind.KEEP)
        if not supported(words, memory, seen.memory, shown_text(text)):
            return _invalid("the value does not stand in the text")
        return Update(UpdateKind.REWRITE, seen.taken(memory), plan, again=reads_again(seen.question, plan))

    def parse_direct(self, completion: Completion, query: Query, documents: Sequence[tuple[str, str]]) -> str:
        """The value, an option's letter, or `UNKNOWN` where the text cannot support what was said.

        It would be said again, since the pass is greedy. A reply that is still being written is no answer until the
        text supports it.
        """
        question, options, text = _parts(query, documents)
        words = direct_words(question, options, text)
        answer = _said(words, completion, options)
        if answered_by(words, answer, options, text):
            return answer
        if completion.finish_reason == "length":
            raise InvalidReply("cut, and the value does not stand in the text")
        return UNKNOWN


def direct_tokens(policy: Path) -> int:
    """Most tokens of text that the weights in the folder `policy` answer from in a single pass, as its config.json
    says; 0 where it has none or says nothing. Raises ValueError for one that cannot be understood."""
    path = policy / "config.json"
    if not path.is_file():
        return 0
    config = json.loads(path.read_text("utf-8"))
    found = config.get(DIRECT_TOKENS, 0) if isinstance(config, dict) else None
    if type(found) is not int or found < 0:
        raise ValueError(f"{path}: {DIRECT_TOKENS} must be a number of tokens")
    return found


def profile(budgets: Budgets = BUDGETS) -> DemoProfile:
    return DemoProfile(budgets)


_EXTRA = {"skip_special_tokens": False}
_SPECIAL = re.compile("|".join(re.escape(special) for special in SPECIALS))
_PLAIN_TEXT = rf"(?:(?!{_SPECIAL.pattern}).)*"
"""Anything but special tokens: a value may well hold a "<"."""
_WORD = re.compile(r"\w+")
_UPDATE = re.compile(rf"<mem>(?P<memory>{_PLAIN_TEXT})<plan>(?P<plan>{_PLAIN_TEXT})(?:<eos>)?", re.DOTALL)


def parse_update(words: Placeholders, reply: str, before: str) -> tuple[str, str] | None:
    """Memory and plan of a rewriting reply to the memory `before`, None for any other text; a memory without letters
    or digits is none.

    Where the question asks for several things, what memory holds already need not be said again: a list is never
    shortened by a slip of the policy.
    """
    found = _UPDATE.fullmatch(words.show(reply.strip()))
    if found is None:
        return None
    memory, plan = (" ".join(found[part].split()) for part in ("memory", "plan"))
    if memory == NOTHING or not any(sign.isalnum() for sign in memory):
        return None
    return _added(memory, before) if words.several else memory, "" if plan == NOTHING else plan


def _added(memory: str, before: str) -> str:
    """The line `before` with the items that `memory` has beside it, each once; `memory` itself where that is a line on
    another key. Both may hold a colon in the key, so the longest common one counts."""
    for colon in reversed(list(re.finditer(": ", before)) or list(re.finditer(": ", memory))[:1]):
        end = colon.end()
        if memory[:end] == (before or memory)[:end]:
            items: dict[str, str] = {}
            for item in (*(before[end:].split(BETWEEN) if before else ()), *memory[end:].split(BETWEEN)):
                items.setdefault(_plain(item), item)
            return memory[:end] + BETWEEN.join(items.values())
    return memory


def supported(words: Placeholders, memory: str, before: str, text: str) -> bool:
    """Whether `text` and the memory before allow the memory `memory`, by what the question of `words` asks for."""
    return (grounded_items if words.several else grounded)(memory, before, text)


def grounded(memory: str, before: str, text: str) -> bool:
    """Whether `text` can support the line `memory` ("attribute of name: value"); the line before supports itself.

    The value must stand in the text as a whole, case and spacing aside, and so must at least one word of the name.
    """
    if memory == before:
        return True
    seen = _plain(text)
    return any(_names(key, seen) and bool(value) and _stands(value, seen) for key, value in _splits(memory))


def grounded_items(memory: str, before: str, text: str) -> bool:
    """Whether `text` can support the line `memory` ("things of name: item; item"); the line before supports itself.

    The memory begins with the whole of the one before. Each further item must stand in the text, like at least one
    word of the name, and be no item that is there already.
    """
    if memory == before:
        return True
    if before and not memory.startswith(before + BETWEEN):
        return False
    seen = _plain(text)
    for key, value in _splits(before or memory):
        known = value.split(BETWEEN) if before else []
        new = _plain(memory[len(before + BETWEEN) :]).split(BETWEEN) if before else value.split(BETWEEN)
        listed = known + new
        if len(set(listed)) == len(listed) and all(item and _stands(item, seen) for item in new) and _names(key, seen):
            return True
    return False


def answered_by(words: Placeholders, answer: str, options: Sequence[str], text: str) -> bool:
    """Whether `text` can support an answer of the single pass: the value, each listed thing or the option's words must
    stand in it; a count need not, since it is counted."""
    if words.several and answer.isdecimal():
        return True
    if answer in tuple(LETTERS[: len(options)]):
        answer = options[LETTERS.index(answer)]
    items, seen = _plain(answer).split(BETWEEN) if words.several else [_plain(answer)], _plain(text)
    return all(item and _stands(item, seen) for item in items)


def _splits(line: str) -> Iterator[tuple[str, str]]:
    """Each way to take a memory line apart into its key and its value, which is plain; both may hold a colon."""
    for colon in re.finditer(": ", line):
        yield line[: colon.start()], _plain(line[colon.end() :])


def _names(key: str, text: str) -> bool:
    """Whether a word of the name in "attribute of name" stands in `text`."""
    name = _WORD.findall(_plain(key.rsplit(" of ", 1)[-1]).removeprefix("the "))
    return not name or any(re.search(rf"\b{re.escape(word)}", text) for word in name)


def _stands(value: str, text: str) -> bool:
    """Whether `value` stands in `text`, not as a part of a longer word or number."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _said(words: Placeholders, completion: Completion, options: Sequence[str]) -> str:
    """What an answer says. Raises `InvalidReply` when that is nothing, or no plain text."""
    answer = read_reply(words, completion.text, options)
    if not answer or _SPECIAL.search(answer):
        raise InvalidReply("the answer is empty" if not answer else "the answer holds special tokens")
    return answer


def _parts(query: Query, documents: Sequence[tuple[str, str]]) -> tuple[str, list[str], str]:
    """Question, options and the documents' joined texts for a single pass; titles are no part of what is read."""
    text = "\n\n".join(text for _, text in documents)
    return (
        _line(without_layout(query.core)),
        [_line(option) for option in options_in(query.instructions)],
        shown_text(text),
    )


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
