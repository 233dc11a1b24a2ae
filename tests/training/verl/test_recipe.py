"""The real recipe classes in the real verl, on a CPU: two updates of a policy of which every probability is known, then
a third one from the checkpoint."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from longfold_agent.profiles.demo import ANS
from longfold_training.core.sampler import TaskBalanced
from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.engines.verl import settings

ROOT = Path(__file__).parents[3]
CONFIG = Path(settings.__file__).parent / "config"
CHUNKS, GROUP, QUESTIONS, PROBLEMS = 2, 8, 2, 8
STARTS = 3
"""Ray gives up its own start after 30 seconds, which nothing can set; a busy machine takes longer."""
HERE = {
    # No GPU: see cpu_platform.py.
    "trainer.device": "cpu",
    "trainer.n_gpus_per_node": 1,
    "+ray_kwargs.ray_init.num_gpus": 1,
    "ray_kwargs.ray_init.num_cpus": 16,
    "+ray_kwargs.ray_init.object_store_memory": 400_000_000,
    "+ray_kwargs.ray_init.include_dashboard": False,
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
    "actor_rollout_ref.rollout.name": "transformers_cpu",
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
    "actor_rollout_ref.rollout.agent.num_workers": 1,
    "actor_rollout_ref.model.use_remove_padding": False,
    "actor_rollout_ref.model.use_fused_kernels": False,
    "actor_rollout_ref.model.enable_gradient_checkpointing": False,
    "+actor_rollout_ref.model.override_config.attn_implementation": "sdpa",
    "actor_rollout_ref.actor.use_torch_compile": False,
    "actor_rollout_ref.actor.fsdp_config.use_torch_compile": False,
    "actor_rollout_ref.actor.fsdp_config.param_offload": False,
    "actor_rollout_ref.actor.fsdp_config.optimizer_offload": False,
    "actor_rollout_ref.actor.use_dynamic_bsz": False,
    "actor_rollout_ref.actor.ulysses_sequence_parallel_size": 1,
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": 8,
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": 8,
    # A tiny policy in its own format.
    "longfold.profile": "demo",
    "longfold.limits.chunk_tokens": 64,
    "longfold.limits.memory_tokens": 64,
    "data.max_prompt_length": 3072,
    "data.max_response_length": 1024,
    "actor_rollout_ref.rollout.max_model_len": 4096,
    "data.train_batch_size": QUESTIONS,
    "actor_rollout_ref.rollout.n": GROUP,
    "actor_rollout_ref.actor.optim.lr": 0.01,
    "trainer.save_freq": 1,
    "trainer.logger": "[console,file]",
}


@dataclass(frozen=True)
class Run:
    policy: Path
    folder: Path
    rows: list[dict[str, float]]
    """The metrics of each step."""
    said: str


def train(python: Path, policy: Path, problems: Path, folder: Path, steps: int) -> Run:
    metrics = folder / f"metrics-{steps}.jsonl"
    given = HERE | {
        "actor_rollout_ref.model.path": policy,
        "data.train_files": problems,
        "trainer.default_local_dir": folder / "checkpoints",
        "trainer.total_training_steps": steps,
        "+ray_kwargs.ray_init._temp_dir": folder / "ray",
        "ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES": f"'cpu_platform,{settings.MODULES}'",
    }
    here = {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "agent", ROOT / "training", Path(__file__).parent))),
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "cpu_platform",
        "VERL_FILE_LOGGER_PATH": str(metrics),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_prestart_worker_first_driver": "0",
        "HF_HUB_OFFLINE": "1",
        "HYDRA_FULL_ERROR": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [
        str(python), "-W", "ignore", "-m", "verl.trainer.main_ppo", "--config-dir", str(CONFIG),
        "--config-name", "memory", *(f"{key}={value}" for key, value in given.items()),
    ]  # fmt: skip
    for _ in range(STARTS):
        done = subprocess.run(
            command, env=os.environ | here, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if "node timed out during startup" not in done.stdout:
            break
    (folder / f"log-{steps}.txt").write_text(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:]
    rows = [json.loads(line)["data"] for line in metrics.read_text().splitlines()]
    return Run(policy, folder, rows, done.stdout)


@pytest.fixture(scope="module")
def first(
    verl_python: Path,
    bigram: Callable[[Mapping[str, Mapping[str, float]]], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """Two updates from the start."""
    # Ray's sockets stand below its folder, and a socket's path has room for 107 characters.
    folder = tmp_path_factory.mktemp("v")
    problems = folder / "problems.jsonl"
    with problems.open("w") as lines:
        for number in range(PROBLEMS):
            problem = {
                "id": f"q{number}",
                "task": ("one", "two")[number % 2],
                "question": f"What is the code of item {number}? A) {number}11 B) {number}22",
                "documents": [{"text": "Nothing stands here. " * (3 * CHUNKS)}],
                "gold": {"rule": "choice", "letter": "A", "options": [f"{number}11", f"{number}22"]},
            }
            lines.write(json.dumps(problem) + "\n")
    return train(verl_python, bigram({}), problems, folder, 2)


def chance_of_a(folder: Path) -> float:
    """How probable a policy's answer A is against B."""
    policy = LocalPolicy(folder, device="cpu")
    with torch.no_grad():
        logits = policy.model(torch.tensor([[ANS]])).logits[0, -1]
    a, b = (policy.tokenizer.convert_tokens_to_ids(letter) for letter in "AB")
    return float(torch.sigmoid(logits[a] - logits[b]))


@pytest.mark.slow
def test_an_attempt_is_a_row_for_every_step_and_one_trajectory(first: Run) -> None:
    for row in first.rows:
        assert row["longfold/trajectories"] == QUESTIONS * GROUP
        assert row["longfold/groups"] == QUESTIONS
        assert row["longfold/steps"] == CHUNKS + 1
        assert row["longfold/rows"] == QUESTIONS * GROUP * (CHUNKS + 1)
        assert row["longfold/lost"] == 0
        assert row["longfold/keep"] == 1
        # A batch holds a question of each task.
        assert {"longfold/advantage/one", "longfold/advantage/two"} <= row.keys()


@pytest.mark.slow
def test_the_entropy_is_that_of_the_policy(first: Run) -> None:
    # One <keep> for each chunk and <eos> are certain; the letter is a fair coin: ln 2 over four tokens.
    # verl computes it from bfloat16 logits here, whose step is 1/8 at 17 (12 at temperature 0.7): the letter's is 3/4.
    assert first.rows[0]["longfold/entropy"] == pytest.approx(math.log(2) / (CHUNKS + 2), abs=0.02)
    assert first.rows[0]["longfold/masking"] == 0


@pytest.mark.slow
def test_there_is_one_update_a_batch_and_it_is_on_policy(first: Run) -> None:
    for row in first.rows:
        assert row["actor/ppo_kl"] == pytest.approx(0, abs=1e-5)
        assert row["actor/pg_clipfrac"] == 0
        assert row["actor/grad_norm"] > 0


@pytest.mark.slow
def test_the_policy_learns_and_its_folder_can_be_served(first: Run) -> None:
    assert chance_of_a(first.policy) == pytest.approx(0.5)
    trained = first.folder / "checkpoints" / "global_step_2" / "actor" / "huggingface"
    assert chance_of_a(trained) > 0.52


@pytest.mark.slow
def test_a_run_goes_on_where_its_checkpoint_stands(first: Run, verl_python: Path) -> None:
    checkpoints = first.folder / "checkpoints"
    state = json.loads((checkpoints / "global_step_2" / "longfold.json").read_text())["aepo"]
    assert (state["masking"], state["switches"]) == (False, 0)
    assert state["first"] == pytest.approx([row["longfold/entropy"] for row in first.rows])
    # What the controller remembers is read: with masking on between the bounds, it stays on.
    state |= {"masking": True}
    (checkpoints / "global_step_2" / "longfold.json").write_text(json.dumps({"aepo": state}))
    second = train(verl_python, first.policy, first.folder / "problems.jsonl", first.folder, 3)
    assert [row["training/global_step"] for row in second.rows] == [3]
    assert second.rows[0]["longfold/masking"] == 1
    state = torch.load(checkpoints / "global_step_3" / "data.pt", weights_only=False)
    sampler = TaskBalanced([("one", "two")[number % 2] for number in range(PROBLEMS)], QUESTIONS)
    for _ in range(3):
        sampler.draw()
    assert sampler.state_dict() in list(inner(state))


def inner(state: object) -> list[object]:
    """All mappings inside nested mappings."""
    if not isinstance(state, dict):
        return []
    return [state, *(found for value in state.values() for found in inner(value))]
