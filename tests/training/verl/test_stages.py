"""Every stage's file, over verl's own defaults, is a configuration that the recipe accepts."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from longfold_training.engines.verl.__main__ import CONFIG, stages

ROOT = Path(__file__).parents[3]
COMPOSE = """
import json, sys
from pathlib import Path
from importlib.metadata import distribution
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from longfold_training.engines.verl.settings import check, value

defaults = Path(distribution("verl").locate_file("verl/trainer/config"))
with initialize_config_dir(config_dir=sys.argv[1], version_base=None):
    for stage in sys.argv[2:]:
        config = compose(config_name=stage, overrides=[f"hydra.searchpath=[file://{defaults}]"])
        told = OmegaConf.to_container(config, resolve=True)
        keys = ("trainer.v1.trainer_mode", "data.custom_cls.name", "actor_rollout_ref.actor._target_")
        print(json.dumps([stage, check(told).reading, *(value(told, key) for key in keys)]))
"""


@pytest.mark.slow
def test_every_stage_is_a_configuration(verl_python: Path) -> None:
    done = subprocess.run(
        [str(verl_python), "-W", "ignore", "-c", COMPOSE, str(CONFIG), *stages()],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'agent'}{os.pathsep}{ROOT / 'training'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    # The last comes from verl's own files: the defaults were found.
    expected = ["longfold", "ProblemDataset", "verl.workers.config.FSDPActorConfig"]
    assert found == [[stage, "fold" if "memory" in stage else "direct", *expected] for stage in stages()]
