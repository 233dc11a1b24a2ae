"""Problems for the demo policy: generated documents, their questions and the rules that know the answers. Knows no
policy but its tokenizer."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, get_args

from pydantic import ValidationError

from longfold_agent.profiles.choices import LETTERS, options_in, split_question
from longfold_agent.profiles.demo import BETWEEN
from longfold_agent.tokens import load_tokens
from longfold_training.demo.documents import Document, Family, Item, generate
from longfold_training.demo.material import Material
from longfold_training.errors import RecipeError
from longfold_training.policy_folder import tokenizer_hash
from longfold_training.problems import Problem, Text
from longfold_training.recipes import Problems
from longfold_training.rewards import AnyRule, Choice, Exact, Items, Number
from longfold_training.run_folder import RunFolder

if TYPE_CHECKING:
    from longfold_training.stages import Watch


def problems(recipe: Problems, out: Path, *, resume: bool, watch: Watch) -> Path:
    """Write `out`/problems.jsonl; the task of a problem is its family. Raises `TrainingError`."""
    known = get_args(Family)
    if unknown := [family for family in recipe.families if family not in known]:
        raise RecipeError(f"families: {', '.join(unknown)} unknown; there are {', '.join(known)}")
    families: tuple[Family, ...] = tuple(family for family in known if family in recipe.families)
    inputs = {"tokenizer": tokenizer_hash(recipe.start)}
    folder = RunFolder(out, recipe, inputs, result="problems.jsonl", resume=resume)
    if folder.finished:
        return out / "problems.jsonl"
    tokens = load_tokens(recipe.start / "tokenizer.json")
    rng = Random(f"problems/{recipe.seed}/{recipe.split}/{recipe.templates}")
    together = recipe.families_at_once or len(families)
    sharing = [families[first : first + together] for first in range(0, len(families), together)] * recipe.documents
    lines = []
    for number, asked in enumerate(sharing):
        document = generate(
            rng,
            chunks=rng.randint(*recipe.chunks),
            count=tokens.count,
            chunk_tokens=recipe.chunk_tokens,
            per_family=recipe.per_family,
            families=asked,
            material=Material(split=recipe.split, templates=recipe.templates),
        )
        lines += [problem.model_dump_json() + "\n" for problem in of_document(document, f"{recipe.seed}-{number}")]
        watch(number + 1, len(sharing), "documents")
    return folder.write("problems.jsonl", "".join(lines))


def of_document(document: Document, name: str) -> list[Problem]:
    """One problem a question, each with the whole document.

    Two kinds of questions are left out: those whose options the profile reads otherwise than they are meant (behind
    "Balance T." an "A." may be an initial as well), and those whose options or items are the same to the rule, as "9"
    and "£9" are.
    """
    return [
        Problem(
            id=f"{name}-{place}",
            task=item.family,
            question=item.question,
            documents=(Text(text=document.text),),
            gold=gold,
        )
        for place, item in enumerate(document.items)
        if (gold := _gold(item)) is not None
    ]


def _gold(item: Item) -> AnyRule | None:
    try:
        if item.family == "choice":
            options = tuple(options_in(split_question(item.question).instructions))
            meant = dict(zip(LETTERS, options, strict=False)).get(item.answer, "")
            return Choice(letter=item.answer, options=options) if meant.lower() == item.memories[-1].lower() else None
        if item.family == "list":
            return Items(items=tuple(item.answer.split(BETWEEN)))
    except ValidationError:
        return None
    return Number(value=item.answer) if item.family == "count" else Exact(answers=(item.answer,))
