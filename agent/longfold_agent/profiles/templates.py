"""Templates: the wording of a profile, from the package's `wording/` or from an operator's folder. The only home of
prompt text.

A template is a text file with `${slot}` places (`$$` is a dollar sign). Values are put in as they are and never looked
at again, so a `${question}` inside a document stays what it is. Knows no model and parses no replies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from longfold_agent.errors import TemplateError
from longfold_agent.neutralise import OUR_TAGS, neutralise

NOTHING = "(nothing yet)"
"""Stands for an empty memory or plan. A reply that is only this is no memory."""
NO_INSTRUCTIONS = "(none)"
"""Stands for empty formatting instructions."""
DOCUMENT = Template("Document ${number}: ${title}\n<section>\n${text}\n</section>")
"""One document of the single pass; <section> since that tag is neutralised inside documents."""
UNTITLED = "untitled"

ALLOWED: Mapping[str, frozenset[str]] = {
    "read": frozenset({"question", "section", "memory", "plan", "previous_memory"}),
    "answer": frozenset({"question", "memory", "plan", "instructions"}),
    "direct": frozenset({"documents", "question", "instructions"}),
    "decompose": frozenset({"question"}),
}
REQUIRED: Mapping[str, tuple[frozenset[str], ...]] = {
    # `previous_memory` is the last reply's memory and plan with their tags, as the paper shows it; or the two come one
    # by one.
    "read": (
        frozenset({"question", "section", "previous_memory"}),
        frozenset({"question", "section", "memory", "plan"}),
    ),
    "answer": (frozenset({"question", "memory", "instructions"}),),
    "direct": (frozenset({"documents", "question", "instructions"}),),
    "decompose": (frozenset({"question"}),),
}
"""Slots of each template; one of the sets must be there in full."""

_TAG = re.compile(r"</?\s*([A-Za-z][\w.-]*)[^<>]*>")
_EXAMPLE = re.compile(r"<(?:memory|plan)>([^<$]*)</(?:memory|plan)>")


@dataclass(frozen=True, slots=True)
class Wording:
    """The four checked templates of a profile."""

    read: str
    answer: str
    direct: str
    decompose: str
    specials: tuple[str, ...] = ()
    """The served tokenizer's own special tokens, neutralised besides the known ones in whatever comes from
    documents."""

    def __post_init__(self) -> None:
        """Raises `TemplateError` naming the template and the slot."""
        for name in ALLOWED:
            _check(name, getattr(self, name))

    @property
    def tags(self) -> frozenset[str]:
        """Names of the tags with which the templates frame what comes from documents; an operator's may be their
        own."""
        return frozenset(_TAG.findall(f"{self.read}\n{self.answer}\n{self.direct}"))

    @property
    def placeholders(self) -> frozenset[str]:
        """What stands between the reply tags in the read template's own example: a reply that repeats it says
        nothing."""
        return frozenset({NOTHING, *(found.strip() for found in _EXAMPLE.findall(self.read))})

    def identity(self) -> dict[str, object]:
        """Everything about the wording that changes what a model is asked; part of a profile's version."""
        fixed = [NOTHING, NO_INSTRUCTIONS, DOCUMENT.template, UNTITLED]
        return {"templates": {name: getattr(self, name) for name in ALLOWED}, "fixed": fixed}

    def reading(self, question: str, memory: str, plan: str, section: str) -> str:
        memory, plan = self._foreign(memory) or NOTHING, self._foreign(plan) or NOTHING
        previous = f"<memory>\n{memory}\n</memory>\n<plan>\n{plan}\n</plan>"
        return Template(self.read).substitute(
            question=_own(question),
            memory=memory,
            plan=plan,
            previous_memory=NOTHING if memory == NOTHING else previous,
            section=self._foreign(section),
        )

    def answering(self, question: str, memory: str, plan: str, instructions: str) -> str:
        return Template(self.answer).substitute(
            question=_own(question),
            memory=self._foreign(memory) or NOTHING,
            plan=self._foreign(plan) or NOTHING,
            instructions=_own(instructions) or NO_INSTRUCTIONS,
        )

    def single_pass(self, question: str, instructions: str, documents: Sequence[tuple[str, str]]) -> str:
        """`documents` are (title, text) in order; the question follows them."""
        blocks = [
            DOCUMENT.substitute(number=number, title=self._line(title) or UNTITLED, text=self._foreign(text))
            for number, (title, text) in enumerate(documents, 1)
        ]
        return Template(self.direct).substitute(
            documents="\n\n".join(blocks),
            question=_own(question),
            instructions=_own(instructions) or NO_INSTRUCTIONS,
        )

    def decomposing(self, question: str) -> str:
        return Template(self.decompose).substitute(question=_own(question))

    def _foreign(self, text: str) -> str:
        """What documents say, or what a model made of it: neutralised, so that it cannot pose as a part of the
        prompt."""
        own = (f"<{tag}>" for tag in sorted(self.tags - frozenset(OUR_TAGS)))
        return neutralise(text, (*self.specials, *own))

    def _line(self, title: str) -> str:
        """A title on one line."""
        return " ".join(self._foreign(title).split())


def load(profile: str, folder: Path | None = None, specials: tuple[str, ...] = ()) -> Wording:
    """The wording shipped for `profile`, with the files `read.txt`, `answer.txt`, `direct.txt` and `decompose.txt` of
    `folder` in place of ours where they exist.

    Raises `TemplateError` for a folder that is missing or holds none of the four, a `.txt` file of another name (a
    typing error would otherwise go unnoticed), a file that is not UTF-8, and unknown, missing or malformed slots.
    """
    shipped = resources.files("longfold_agent.profiles").joinpath("wording", profile)
    texts = {name: shipped.joinpath(f"{name}.txt").read_text("utf-8").strip() for name in ALLOWED}
    return Wording(**texts | (_overrides(folder) if folder is not None else {}), specials=specials)


def _overrides(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise TemplateError(f"the template folder {folder} does not exist")
    files = sorted(file for file in folder.iterdir() if file.suffix == ".txt")
    if unknown := [file.name for file in files if file.stem not in ALLOWED]:
        raise TemplateError(
            f"{folder} holds {unknown[0]}, which is none of {', '.join(f'{name}.txt' for name in ALLOWED)}"
        )
    if not files:
        raise TemplateError(f"{folder} holds none of {', '.join(f'{name}.txt' for name in ALLOWED)}")
    try:
        return {file.stem: file.read_text("utf-8").strip() for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"a template in {folder} cannot be read: {error}") from error


def _check(name: str, text: str) -> None:
    template = Template(text)
    if not template.is_valid():
        raise TemplateError(f"{name}.txt has a stray '$': write $$ for a dollar sign and ${{slot}} for a slot")
    slots = frozenset(template.get_identifiers())
    if unknown := sorted(slots - ALLOWED[name]):
        raise TemplateError(
            f"{name}.txt has the unknown slot ${{{unknown[0]}}}; it may use {', '.join(sorted(ALLOWED[name]))}"
        )
    if not any(wanted <= slots for wanted in REQUIRED[name]):
        missing = min((sorted(wanted - slots) for wanted in REQUIRED[name]), key=len)
        raise TemplateError(f"{name}.txt lacks the slot {', '.join(f'${{{slot}}}' for slot in missing)}")


def _own(text: str) -> str:
    """The user's own words: they may name tags ("answer in <answer> tags"), so only chat control tokens are broken."""
    return text.replace("<|", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}|")
