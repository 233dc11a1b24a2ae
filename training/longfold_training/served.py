"""How a policy is asked: its tokens, and the profile that will serve it. Knows no weights."""

from __future__ import annotations

from pathlib import Path

from longfold_agent import profiles
from longfold_agent.profiles.demo import SPECIALS
from longfold_agent.protocols import Profile
from longfold_agent.tokens import LoadedTokens, load_tokens
from longfold_training.errors import CheckpointError
from longfold_training.policy_folder import check_folder
from longfold_training.recipes import Limits


def served(folder: Path, profile: str, limits: Limits) -> tuple[LoadedTokens, Profile]:
    """The tokens of a policy's folder, and the profile `profile` for them, with the recipe's budgets.

    Raises `CheckpointError` where the folder is none, has a tokenizer that the profile was not made for, or says of
    itself what the profile cannot understand.
    """
    check_folder(folder)
    tokens = load_tokens(folder / "tokenizer.json")
    if profile == "demo" and tokens.specials[: len(SPECIALS)] != SPECIALS:
        raise CheckpointError(f"{folder} has another tokenizer than the demo policies: their special tokens differ")
    try:
        made = profiles.load(
            profile,
            chunk_tokens=limits.chunk_tokens,
            memory_tokens=limits.memory_tokens,
            specials=tokens.specials,
            policy=folder,
        )
    except ValueError as error:
        # Name and budgets come from a checked recipe; what is left is the policy's own config.json.
        raise CheckpointError(str(error)) from error
    return tokens, made
