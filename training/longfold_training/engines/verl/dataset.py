"""Problems as verl's data set. Knows no rewards and no prompts.

What travels through verl with every row of every attempt is where a problem stands, not its documents: at 128K tokens
and eight attempts of five steps they would be copied forty times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch.utils.data import Dataset, Sampler

from longfold_agent.tokens import load_tokens
from longfold_training.core.sampler import TaskBalanced
from longfold_training.engines.verl.settings import NAME
from longfold_training.errors import DataError
from longfold_training.problems import Problem, parse
from longfold_training.rewards import validate


@dataclass(frozen=True, slots=True)
class _Place:
    file: str
    offset: int
    """Bytes from the file's start to the problem's line."""
    id: str
    task: str
    question: str
    gold: str


class ProblemDataset(Dataset[dict[str, Any]]):
    """The problems of JSON Lines files on a file system that every node sees under the same path.

    data_files: one path or several; ids are unique over all of them.
    tokenizer: Hugging Face's, loaded from the policy's folder.
    config: verl's `data` table; `input_tokens` is the longest text of a problem, a longer one is left out.
    max_samples: the first so many; below 1 for all.

    Raises `DataError` where the data cannot be used: unreadable, no task label, the same id twice, rules that reward
    wrong answers, nothing within the limit.
    """

    def __init__(
        self,
        data_files: str | Sequence[str],
        tokenizer: Any,
        config: Mapping[str, Any],
        processor: object = None,
        max_samples: int = -1,
    ) -> None:
        files = [data_files] if isinstance(data_files, str) else list(data_files)
        limit: int = config["input_tokens"]
        tokens = load_tokens(tokenizer.name_or_path)
        self._places: list[_Place] = []
        self.left_out = 0
        """Problems whose texts are longer than the limit."""
        for file, offset, problem in _problems(files):
            if 0 < max_samples <= len(self._places):
                break
            validate([problem])
            # A token is at least a byte, so most texts that fit need not be counted.
            text = [document.text for document in problem.documents]
            if sum(len(one.encode()) for one in text) > limit and sum(map(tokens.count, text)) > limit:
                self.left_out += 1
                continue
            gold = problem.gold.golds[0]
            self._places.append(_Place(file, offset, problem.id, problem.task, problem.question, gold))
        if not self._places:
            raise DataError(f"{', '.join(files)}: no problem of at most {limit} tokens")

    @property
    def tasks(self) -> list[str]:
        """The task label of every problem."""
        return [place.task for place in self._places]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A row in the fields that verl asks for; the agent loop reads `problem`."""
        place = self._places[index]
        return {
            "problem": {"file": place.file, "offset": place.offset},
            "agent_name": NAME,
            "data_source": place.task,
            "raw_prompt": [{"role": "user", "content": place.question}],
            "reward_model": {"style": "rule", "ground_truth": place.gold},
            "extra_info": {"index": index, "id": place.id},
            "index": index,
            # verl builds its batch around at least one tensor.
            "dummy_tensor": torch.zeros(1, dtype=torch.uint8),
        }


def read(place: Mapping[str, Any]) -> Problem:
    """The problem of a row. Raises `DataError` when the file is not what it was."""
    file, offset = Path(place["file"]), int(place["offset"])
    try:
        with file.open("rb") as lines:
            lines.seek(offset)
            return Problem.model_validate_json(lines.readline())
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; every node must see it under this path") from error
    except ValidationError as error:
        raise DataError(f"{file} has changed: at byte {offset} stands no problem any more") from error


class BalancedBatches(Sampler[list[int]]):
    """`TaskBalanced` as torch's loader asks for it: batches without end, whose place a checkpoint keeps."""

    def __init__(self, sampler: TaskBalanced) -> None:
        self._sampler = sampler

    def __iter__(self) -> Iterator[list[int]]:
        return self

    def __next__(self) -> list[int]:
        return self._sampler.draw()

    def state_dict(self) -> dict[str, Any]:
        return self._sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sampler.load_state_dict(state)


def _problems(files: Sequence[str]) -> Iterator[tuple[str, int, Problem]]:
    """(absolute path, offset, problem) of every line that is not blank."""
    seen: set[str] = set()
    for file in files:
        path = Path(file).expanduser().resolve()
        offset = 0
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        problem = parse(line, f"{path}:{number}")
                        if problem.id in seen:
                            raise DataError(f"{path}:{number}: id {problem.id!r} was used before")
                        seen.add(problem.id)
                        yield str(path), offset, problem
                    offset += len(line)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
