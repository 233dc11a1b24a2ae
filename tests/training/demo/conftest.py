"""A small tokenizer and a small policy, made once; both are real, only little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest
import torch
from tokenizers import Tokenizer

from longfold_training.demo.filler import invented
from longfold_training.demo.model import Shape
from longfold_training.demo.rows import exercises
from longfold_training.demo.story import make_story
from longfold_training.demo.tokenizer import train_tokenizer


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from several threads, which wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SMALL = Shape(vocabulary=1024, width=192, layers=2, inner=128)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    rng = Random(5)
    texts = [invented(rng)[0] for _ in range(600)]
    for _ in range(150):
        story = make_story(rng, 64, 4, "train")
        texts.append(story.text)
        texts += [made.prompt.split("<q>")[-1] for made in exercises(rng, story, 3)]
    return train_tokenizer(texts, SMALL.vocabulary)


@pytest.fixture(scope="session")
def count(tokenizer: Tokenizer) -> Callable[[str], int]:
    return lambda text: len(tokenizer.encode(text).ids)


@pytest.fixture(scope="session")
def shape() -> Shape:
    return SMALL
