"""Whole stages on a policy that can learn one thing: of two letters, to say the one that is right."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from longfold_agent import VLLMEngine
from longfold_agent.profiles.demo import KEEP
from longfold_training.demo.documents import Document, Item
from longfold_training.demo.story import Key
from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.errors import (
    CheckpointError,
    DataError,
    DivergedError,
    JudgeError,
    RecipeError,
    RolloutError,
    StorageError,
)
from longfold_training.problems import load as read_problems
from longfold_training.recipes import load
from longfold_training.rewards import judge, validate
from longfold_training.stages import evaluate, missing, reading, run, select
from longfold_training.stages.problems import of_document

Bigram = Callable[[Mapping[str, Mapping[str, float]]], Path]
Letters = Callable[..., Path]
SURE = ("rollouts.temperature=0.7", "rollouts.top_p=0.95")
"""What `bigram` is certain of, it then always says."""
LEARN = (
    *SURE,
    "steps=5", "questions=4", "rollouts.group=4", "limits.chunk_tokens=64", "optimiser.learning_rate=0.005",
    "checkpoint_every=2", "aepo.enabled=false",
)  # fmt: skip


def rows(folder: Path) -> list[dict[str, Any]]:
    """A run's figures without its times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if "seconds" not in key} for line in lines]


def weights(policy: Path) -> dict[str, torch.Tensor]:
    return load_file(policy / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_whole_way(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    # The likelier letter is the wrong one: nearly half of the attempts are right, and no greedy answer.
    start, data = bigram({"<ans>": {"A": 11.9, "B": 12.0}}), letters()
    told: list[str] = []
    policy = run(
        load("demo/memory", [*LEARN, f"start={start}", f"data={data}"]),
        tmp_path / "memory",
        watch=lambda done, total, note: told.append(f"{done}/{total} {note}"),
    )
    assert policy == tmp_path / "memory" / "policy"
    figures = rows(tmp_path / "memory")
    assert 0.1 < figures[0]["reward"] < 0.8
    assert [row["step"] for row in figures] == [1, 2, 3, 4, 5] and told[-1].startswith("5/5 reward ")
    assert (figures[0]["trajectories"], figures[0]["keep"], figures[0]["invalid"]) == (16, 1.0, 0.0)
    assert {"score/one", "score/two", "advantage/one", "entropy", "tokens"} <= figures[0].keys()
    assert figures[0]["different_rows"] < figures[0]["rows"]

    full = run(load("demo/full-context", [*LEARN, f"start={start}", f"data={data}", "seed=1"]), tmp_path / "full")
    merged = run(load("demo/merge", [f"base={start}", f'sources=["{policy}", "{full}"]']), tmp_path / "merge")
    assert merged is not None
    assert json.loads((tmp_path / "merge" / "merge.json").read_text())["changed"] > 0.5
    exported = run(load("demo/export", [f"start={merged}", "dtype=bfloat16"]), tmp_path / "export")
    assert exported is not None
    assert {tensor.dtype for tensor in weights(exported).values()} == {torch.bfloat16}
    assert json.loads((exported / "config.json").read_text())["dtype"] == "bfloat16"

    settings = [f"data={data}", "limits.chunk_tokens=64"]
    results = []
    for name, one in (("before", start), ("after", exported)):
        made = run(load("demo/evaluate", [*settings, f"start={one}"]), tmp_path / name)
        assert made is not None
        results.append(json.loads(made.read_text()))
    before, after = results
    assert (before["reward"], after["reward"]) == (0.0, 1.0)
    assert after["by_task"] == {task: {"reward": 1.0, "questions": 2} for task in ("one", "two")}
    answers = [json.loads(line) for line in (tmp_path / "after" / "answers.jsonl").read_text().splitlines()]
    assert [(answer["id"], answer["answer"], answer["score"]) for answer in answers] == [
        (f"q{number}", "A", 1.0) for number in range(4)
    ]

    from longfold_training.report import render

    page = render([tmp_path])
    for name in ("memory", "full", "merge", "export", "before", "after"):
        assert f"<td>{name}</td>" in page
    assert page.count("<svg") >= 10 and "entropy, nats" in page


def test_weights_that_know_the_single_pass_learn_in_it(bigram: Bigram, tmp_path: Path) -> None:
    start, data = bigram({"<ans>": {"A": 11.9, "B": 12.0}}), tmp_path / "problems.jsonl"
    problem = {
        "id": "q", "task": "one", "question": "What is the code? A) 11 B) 22", "documents": [{"text": "11 and 22."}],
        "gold": {"rule": "choice", "letter": "A", "options": ["11", "22"]},
    }  # fmt: skip
    data.write_text(json.dumps(problem) + "\n")
    how = [one for one in LEARN if "chunk" not in one and "questions" not in one] + ["questions=1", "reading=direct"]
    recipe = load("demo/full-context", [*how, "rollouts.group=16", f"start={start}", f"data={data}"])
    with pytest.raises(DataError, match="it has no single pass"):
        run(recipe, tmp_path / "unknown")
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps(config | {"longfold_direct_tokens": 64}))
    policy = run(recipe, tmp_path / "known")
    assert policy is not None and json.loads((policy / "config.json").read_text())["longfold_direct_tokens"] == 64
    figures = rows(tmp_path / "known")
    assert figures[0]["trajectories"] == figures[0]["rows"] == 16 and 0 < figures[0]["reward"] < 1
    results = []
    for name, one in (("before", start), ("after", policy)):
        made = run(load("demo/evaluate", [f"data={data}", f"start={one}", "reading=direct"]), tmp_path / name)
        assert made is not None
        results.append(json.loads(made.read_text())["reward"])
    assert results == [0.0, 1.0]


def test_a_text_that_does_not_fit_is_told_before_the_first_attempt(
    bigram: Bigram, letters: Letters, tmp_path: Path
) -> None:
    start, data, told = bigram({}), letters(3, chunks=1), list[str]()
    lines = data.read_text().splitlines(keepends=True)
    data.write_text("".join(lines[:2]) + lines[2].replace("Nothing stands here. ", "Nothing stands here. " * 30))
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps(config | {"longfold_direct_tokens": 256}))
    recipe = load("demo/evaluate", [f"start={start}", f"data={data}", "reading=direct"])
    with pytest.raises(DataError, match=r"1 of 3 problems cannot be attempted: problem 'q2': .* do not fit"):
        run(recipe, tmp_path / "run", watch=lambda *seen: told.append(seen[-1]))
    assert told == ["checking that the window takes every problem"]


def test_a_resumed_run_is_the_unbroken_one(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    recipe = load("demo/memory", [*LEARN, f"start={bigram({})}", f"data={letters(6)}"])
    whole = run(recipe, tmp_path / "whole")
    broken = tmp_path / "broken"

    class Killed(BaseException):
        pass

    def kill(done: int, total: int, note: str) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        run(recipe, broken, watch=kill)
    assert len(rows(broken)) == 3 and not (broken / "policy").exists()
    asked = iter([False, True])
    # From the checkpoint after step 2 on; asked to stop after step 4.
    assert run(recipe, broken, resume=True, stopped=lambda: next(asked)) is None
    assert [row["step"] for row in rows(broken)] == [1, 2, 3, 4]
    resumed = run(recipe, broken, resume=True)
    assert whole is not None and resumed is not None
    assert rows(broken) == rows(tmp_path / "whole")
    assert same(whole, resumed)
    assert not list(broken.rglob("*.part*"))


def test_over_changed_start_weights_no_stage_goes_on(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    start, data = bigram({}), letters()
    inputs = [f"start={start}", f"data={data}", "limits.chunk_tokens=64"]
    stages = {
        "stopped": load("demo/memory", [*LEARN, *inputs]),
        "trained": load("demo/memory", [*LEARN, *inputs, "steps=1"]),
        "evaluated": load("demo/evaluate", inputs),
        "selected": load("demo/select", [*inputs, "rollouts.group=2", *SURE]),
        "exported": load("demo/export", inputs[:1]),
    }
    made = {name: run(recipe, tmp_path / name, stopped=lambda: True) for name, recipe in stages.items()}
    assert made["stopped"] is None
    told = json.loads((tmp_path / "stopped" / "config.json").read_text())["inputs"]["start"]
    # What is finished stays as it is.
    made.pop("stopped")
    files = {path: path.stat().st_mtime_ns for name in made for path in (tmp_path / name).rglob("*.*")}
    for name, result in made.items():
        assert result is not None and run(stages[name], tmp_path / name, resume=True) == result
    assert {path: path.stat().st_mtime_ns for path in files} == files
    shutil.copyfile(bigram({"<ans>": {"A": 11.0}}) / "model.safetensors", start / "model.safetensors")
    for name, recipe in stages.items():
        with pytest.raises(
            CheckpointError, match=rf"{name} was begun with other contents of its inputs \(start\); give"
        ):
            run(recipe, tmp_path / name, resume=True)
    # In a folder of their own they are what they were, over the new weights.
    assert run(stages["exported"], tmp_path / "again") is not None
    assert json.loads((tmp_path / "again" / "config.json").read_text())["inputs"]["start"] != told


def test_a_small_update_survives_the_way_to_what_is_served(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    warm = run(load("demo/export", [f"start={bigram({})}", "dtype=bfloat16"]), tmp_path / "warm")
    assert warm is not None
    settings = [*LEARN, f"start={warm}", f"data={letters()}", "steps=1", "optimiser.learning_rate=1e-5"]
    trained = run(load("demo/memory", settings), tmp_path / "trained")
    before = LocalPolicy(warm, device="cpu").weights()

    def moved(policy: Path | None) -> int:
        assert policy is not None
        after = LocalPolicy(policy, device="cpu").weights()
        # Beside zero bfloat16 is as fine as anywhere; what counts are weights that have a size.
        return sum(int(((after[name] != weight) & (weight.abs() > 0.01)).sum()) for name, weight in before.items())

    assert moved(trained) > 0
    assert moved(run(load("demo/export", [f"start={trained}"]), tmp_path / "export")) == moved(trained)
    half = run(load("demo/export", [f"start={trained}", "dtype=bfloat16"]), tmp_path / "half")
    assert moved(half) == 0


def test_a_run_that_leaves_the_numbers_keeps_the_last_good_checkpoint(
    bigram: Bigram, letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load("demo/memory", [*LEARN, f"start={bigram({})}", f"data={letters()}"])
    step = torch.optim.AdamW.step

    def spoil(optimiser: torch.optim.AdamW) -> None:
        step(optimiser)
        with torch.no_grad():
            optimiser.param_groups[0]["params"][0][0, 0] = float("nan")

    def watch(done: int, total: int, note: str) -> None:
        if done == 2:
            monkeypatch.setattr(torch.optim.AdamW, "step", spoil)

    with pytest.raises(DivergedError, match="no numbers"):
        run(recipe, tmp_path / "run", watch=watch)
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 2
    assert len(rows(tmp_path / "run")) == 2 and not (tmp_path / "run" / "policy").exists()


def test_equal_rewards_are_skipped_and_counted(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    start = bigram({"<ans>": {"B": 12.0}})
    recipe = load("demo/memory", [*LEARN, f"start={start}", f"data={letters()}", "steps=2"])
    told: list[str] = []
    # Interrupted or not, whoever watches is told.
    assert run(recipe, tmp_path / "run", stopped=lambda: True) is None
    made = run(recipe, tmp_path / "run", resume=True, watch=lambda *seen: told.append(seen[-1]))
    assert told[-1].startswith("the policy did not change: ")
    assert [(row["groups"], row["groups_without_gradient"], row["loss"]) for row in rows(tmp_path / "run")] == [
        (4, 4, 0)
    ] * 2
    assert made is not None and same(start, made)


def test_what_was_left_out_is_told(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    data = letters(5)
    lines = data.read_text().splitlines(keepends=True)
    data.write_text("".join(lines[:4]) + lines[4].replace("Nothing stands here. ", "Nothing stands here. " * 30))
    settings = [*LEARN, f"start={bigram({})}", f"data={data}", "limits.input_tokens=200", "steps=1"]
    run(load("demo/memory", settings), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["inputs"]["left_out"] == "1"


def test_a_full_disk_ends_the_run_and_keeps_the_checkpoint(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    recipe = load("demo/memory", [*LEARN, f"start={bigram({})}", f"data={letters()}"])

    def fill(done: int, total: int, note: str) -> None:
        if done == 2:
            (tmp_path / "run" / "checkpoint.pt.part").symlink_to("/dev/full")

    with pytest.raises(StorageError, match=r"cannot write .*checkpoint.pt"):
        run(recipe, tmp_path / "run", watch=fill)
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 2
    assert run(recipe, tmp_path / "run", resume=True) is not None


LIMITED = """
import resource, signal, sys
from longfold_training.cli import main

# The kernel ends a process that writes beyond the limit at once, in the middle of the file.
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
raise SystemExit(main(sys.argv[1:]))
"""


def test_who_is_killed_while_writing_a_checkpoint_goes_on_from_the_one_before(
    bigram: Bigram, letters: Letters, tmp_path: Path
) -> None:
    settings = [*LEARN, f"start={bigram({})}", f"data={letters(6)}"]
    recipe = load("demo/memory", settings)
    whole = run(recipe, tmp_path / "whole")
    broken = tmp_path / "broken"
    assert run(recipe, broken, stopped=lambda: True) is None
    words = ["run", "demo/memory", "--out", str(broken), "--resume", "--threads", "1"]
    words += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run([sys.executable, "-c", LIMITED, *words], capture_output=True)
    assert done.returncode == -signal.SIGXFSZ
    assert (broken / "checkpoint.pt.part").stat().st_size == 100_000
    assert torch.load(broken / "checkpoint.pt", weights_only=True)["step"] == 1
    resumed = run(recipe, broken, resume=True)
    assert whole is not None and resumed is not None
    assert rows(broken) == rows(tmp_path / "whole") and same(whole, resumed)
    assert not list(broken.rglob("*.part"))


def test_a_disk_that_takes_no_more_leaves_no_policy(bigram: Bigram, tmp_path: Path) -> None:
    start = bigram({})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            run(load("demo/export", [f"start={start}"]), tmp_path / "export")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "export").iterdir()] == ["config.json"]
    assert run(load("demo/export", [f"start={start}"]), tmp_path / "export") is not None


def test_a_mixture_of_experts_keeps_the_names_of_its_tensors(bigram: Bigram, tmp_path: Path) -> None:
    """In memory its experts are one tensor a layer; in a policy folder each has its own."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    start, base = bigram({}), tmp_path / "base"
    shutil.copytree(start, base, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    config = Qwen3MoeConfig(
        vocab_size=json.loads((start / "config.json").read_text())["vocab_size"], hidden_size=16, intermediate_size=16,
        moe_intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, head_dim=8,
        num_experts=4, num_experts_per_tok=2, max_position_embeddings=64,
    )  # fmt: skip
    Qwen3MoeForCausalLM(config).save_pretrained(base)
    assert "model.layers.0.mlp.experts.3.up_proj.weight" in weights(base)
    exported = run(load("demo/export", [f"start={base}"]), tmp_path / "export")
    saved = LocalPolicy(base, device="cpu").save(tmp_path / "saved")
    assert exported is not None and same(exported, base) and same(saved, base)
    sources = f'sources=["{exported}", "{saved}"]'
    assert run(load("demo/merge", [f"base={base}", sources]), tmp_path / "merge") is not None


Answer = Callable[[Message, dict[str, Any]], dict[str, Any]]
Serve = Callable[[Answer], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts an engine with one model that answers by a function of a request's headers and body; its URL."""
    with ExitStack() as servers:

        def start(answer: Answer) -> str:
            class Endpoint(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.tell({"data": [{"id": "policy", "max_model_len": 4096}]})

                def do_POST(self) -> None:
                    body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                    self.tell(answer(self.headers, body))

                def tell(self, payload: dict[str, Any]) -> None:
                    told = json.dumps(payload).encode()
                    self.send_response(200)
                    self.send_header("content-length", str(len(told)))
                    self.end_headers()
                    self.wfile.write(told)

                def log_message(self, format: str, *args: object) -> None:
                    return

            server = servers.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Endpoint))
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            servers.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}/v1"

        yield start


def test_a_judge_decides_what_no_rule_can_tell(
    bigram: Bigram, letters: Letters, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = letters(2)
    problems = [json.loads(line) for line in data.read_text().splitlines()]
    for problem, gold in zip(problems, ("Bravo", "Alpha"), strict=True):
        problem["gold"] = {"rule": "cover", "answers": [gold]}
    data.write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    keys: list[str | None] = []

    def judged(headers: Message, body: dict[str, Any]) -> dict[str, Any]:
        keys.append(headers.get("authorization"))
        said = "[[YES]]" if "\nBravo\n" in body["messages"][0]["content"] else "[[NO]]"
        return {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        }

    monkeypatch.setenv("JUDGE_KEY", "a-key")
    judge = [f"judge.url={serve(judged)}", "judge.api_key_variable=JUDGE_KEY"]
    settings = [f"start={bigram({'<ans>': {'B': 12.0}})}", f"data={data}", "limits.chunk_tokens=64", *judge]
    made = run(load("demo/evaluate", settings), tmp_path / "run")
    # Two questions, and the one YES is checked.
    assert len(keys) == 3 and set(keys) == {"Bearer a-key"}
    # The verdicts are kept: nobody is asked again.
    again = run(load("demo/evaluate", settings), tmp_path / "run")
    assert len(keys) == 3
    assert made is not None and again == made
    answers = [json.loads(line) for line in (tmp_path / "run" / "answers.jsonl").read_text().splitlines()]
    assert [(answer["answer"], answer["score"], answer["by"]) for answer in answers] == [
        ("B", 1.0, "judge"), ("B", 0.0, "judge"),
    ]  # fmt: skip


def test_a_served_policy_is_asked_where_the_recipe_names_one(
    bigram: Bigram, letters: Letters, serve: Serve, tmp_path: Path
) -> None:
    asked: list[dict[str, Any]] = []

    def said(_: Message, body: dict[str, Any]) -> dict[str, Any]:
        """As a vLLM whose policy keeps, and answers A in every second of its seeds."""
        asked.append(body)
        reads = body["prompt"].endswith("<out>")
        token = KEEP if reads else ord("A") if body["seed"] % 2 else ord("B")
        choice = {
            "text": "<keep>" if reads else chr(token), "finish_reason": "stop", "token_ids": [token],
            "prompt_token_ids": [1], "logprobs": {"token_logprobs": [0.0]},
        }  # fmt: skip
        if reads:
            choice["stop_reason"] = KEEP
        return {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    start = bigram({})
    # What serves has the weights; here they are not even read.
    (start / "model.safetensors").write_bytes(b"elsewhere")
    settings = [f"start={start}", f"data={letters()}", "limits.chunk_tokens=64", "rollouts.group=6", *SURE]
    settings += [f"url={serve(said)}", "limits.input_tokens=9000"]
    made = run(load("demo/select", settings), tmp_path / "run")
    assert made is not None
    measured = [json.loads(line) for line in (tmp_path / "run" / "rewards.jsonl").read_text().splitlines()]
    seeds = [body["seed"] for body in asked if body["prompt"].endswith("<ans>")]
    assert len(seeds) == 4 * 6 and len(asked) == 4 * 6 * 3
    assert sum(sum(one["rewards"]) for one in measured) == sum(seed % 2 for seed in seeds) > 0
    assert {body["temperature"] for body in asked} == {0.7}


def test_a_reply_that_is_lost_after_minutes_is_asked_for_again(
    bigram: Bigram, letters: Letters, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = letters(1)
    problem = json.loads(data.read_text())
    data.write_text(json.dumps(problem | {"gold": {"rule": "cover", "answers": ["Alpha"]}}))
    # Between two looks at it two minutes pass.
    for module in (reading, judge):
        monkeypatch.setattr(module, "VLLMEngine", partial(VLLMEngine, clock=count(0, 120).__next__))
    asked: list[str] = []

    def said(_: Message, body: dict[str, Any]) -> dict[str, Any]:
        asked.append("judge" if "messages" in body else "policy")
        if asked.count(asked[-1]) == 1:
            raise ConnectionAbortedError
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        if "messages" in body:
            message = {"role": "assistant", "content": "[[NO]]"}
            return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
        reads = body["prompt"].endswith("<out>")
        choice = {
            "text": "<keep>" if reads else "B", "finish_reason": "stop", "token_ids": [KEEP if reads else ord("B")],
            "prompt_token_ids": [1], "logprobs": {"token_logprobs": [0.0]}, "stop_reason": KEEP if reads else None,
        }  # fmt: skip
        return {"choices": [choice], "usage": usage}

    url = serve(said)
    settings = [f"start={bigram({})}", f"data={data}", f"url={url}", f"judge.url={url}", "limits.chunk_tokens=64"]
    assert run(load("demo/evaluate", settings), tmp_path / "run") is not None
    assert asked.count("policy") == 4 and asked.count("judge") == 2


def test_a_policy_that_nothing_serves_is_told(
    bigram: Bigram, letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "START", 0.0)
    settings = [f"start={bigram({})}", f"data={letters()}", "url=http://127.0.0.1:9"]
    for kind in ("demo/evaluate", "demo/select"):
        told: list[str] = []
        with pytest.raises(RolloutError, match="no policy is served at http://"):
            run(load(kind, settings), tmp_path / kind, watch=lambda *seen, told=told: told.append(seen[-1]))
        # That may take minutes: who watches is told what for.
        assert told == ["waiting for http://127.0.0.1:9"]


def test_select_keeps_what_can_still_teach(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    settings = [
        "limits.chunk_tokens=64",
        "limits.input_tokens=9000",
        f"data={letters(3)}",
        "rollouts.group=6",
        "least=0",
        *SURE,
    ]
    made = run(load("demo/select", [f"start={bigram({})}", *settings]), tmp_path / "open")
    assert made is not None
    kept = {json.loads(line)["id"] for line in made.read_text().splitlines()}
    measured = [json.loads(line) for line in (tmp_path / "open" / "rewards.jsonl").read_text().splitlines()]
    assert {one["id"]: len(one["rewards"]) for one in measured} == {"q0": 6, "q1": 6, "q2": 6}
    assert kept == {one["id"] for one in measured if 0 < sum(one["rewards"]) < 6} != set()
    always = [f"start={bigram({'<ans>': {'A': 12.0}})}", *settings]
    with pytest.raises(DataError, match="none of 3 questions"):
        run(load("demo/select", always), tmp_path / "closed")
    made = run(load("demo/select", [*always, "least=1"]), tmp_path / "least")
    assert made is not None
    assert [json.loads(line)["task"] for line in made.read_text().splitlines()] == ["one", "two"]


def test_a_killed_select_attempts_what_is_left(
    bigram: Bigram, letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "AT_ONCE", 2)
    settings = [f"start={bigram({})}", f"data={letters(5)}", "limits.chunk_tokens=64", "rollouts.group=6", *SURE]
    recipe, told = load("demo/select", [*settings, "least=1"]), list[int]()
    whole, broken = run(recipe, tmp_path / "whole"), tmp_path / "broken"

    class Killed(BaseException):
        pass

    def kill(done: int, total: int, note: str) -> None:
        right = note.startswith("right")
        told.extend([done] if right else [])
        if right and told == [2, 4]:
            raise Killed

    with pytest.raises(Killed):
        run(recipe, broken, watch=kill)
    with (broken / "measured.jsonl").open("a") as file:
        file.write('{"id": "q4", "rew')
    with pytest.raises(CheckpointError, match=r"other settings \(recipe.seed\)"):
        run(recipe.model_copy(update={"seed": 1}), broken, resume=True)
    resumed = run(recipe, broken, resume=True, watch=kill)
    assert told == [2, 4, 5]
    assert whole is not None and resumed is not None
    for name in ("problems.jsonl", "rewards.jsonl"):
        assert (broken / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert not (broken / "measured.jsonl").exists()
    # Begun anew, nothing is left of what was measured before.
    told.clear()
    with pytest.raises(Killed):
        run(recipe, broken, watch=kill)
    told.clear()
    with pytest.raises(Killed):
        run(recipe, broken, watch=kill)
    assert told == [2, 4]


def test_a_killed_evaluation_answers_what_is_left(
    bigram: Bigram, letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "AT_ONCE", 2)
    # Answers are drawn: what was answered before the end must not be drawn anew by another seed.
    settings = [f"start={bigram({})}", f"data={letters(5)}", "limits.chunk_tokens=64", "temperature=0.7"]
    recipe, told = load("demo/evaluate", settings), list[int]()
    whole, broken = run(recipe, tmp_path / "whole"), tmp_path / "broken"

    class Killed(BaseException):
        pass

    def kill(done: int, total: int, note: str) -> None:
        right = note.startswith("right")
        told.extend([done] if right else [])
        if right and told == [2, 4]:
            raise Killed

    with pytest.raises(Killed):
        run(recipe, broken, watch=kill)
    assert not (broken / "results.json").exists()
    with pytest.raises(CheckpointError, match=r"other settings \(recipe.seed\)"):
        run(recipe.model_copy(update={"seed": 1}), broken, resume=True)
    resumed = run(recipe, broken, resume=True, watch=kill)
    assert told == [2, 4, 5]
    assert whole is not None and resumed is not None
    for name in ("results.json", "answers.jsonl"):
        assert (broken / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert not (broken / "measured.jsonl").exists()


def test_select_counts_as_passed_what_the_recipe_says(bigram: Bigram, tmp_path: Path) -> None:
    # The answer is always "AB": half of two texts' ratio, nothing of the other eight.
    start, data = bigram({"<ans>": {"A": 12.0}, "A": {"B": 12.0}}), tmp_path / "problems.jsonl"
    problems = [
        {
            "id": f"q{number}", "task": "one", "question": "Say it again.", "documents": [{"text": "Nothing."}],
            "gold": {"rule": "ratio", "prefix": "A" if number < 2 else "Z", "text": "BBB"},
        }
        for number in range(10)
    ]  # fmt: skip
    data.write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    how = [f"start={start}", f"data={data}", "rule=balanced", "keep=4", "rollouts.group=2", *SURE]
    kept = []
    for passes in (0.5, 1.0):
        made = run(load("demo/select", [*how, f"passes={passes}"]), tmp_path / str(passes))
        assert made is not None
        kept.append({json.loads(line)["id"] for line in made.read_text().splitlines()})
    assert [len(ids) for ids in kept] == [4, 4]
    assert {"q0", "q1"} <= kept[0] and not {"q0", "q1"} <= kept[1]


def test_a_policy_that_is_none_is_told(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    data, start = letters(), bigram({})
    recipe = load("demo/memory", [*LEARN, f"start={tmp_path / 'nowhere'}", f"data={data}"])
    assert missing(recipe) == [f"start: {tmp_path / 'nowhere'}"]
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        run(recipe, tmp_path / "run")
    (start / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="holds no policy that can be loaded"):
        run(load("demo/memory", [*LEARN, f"start={start}", f"data={data}"]), tmp_path / "run")
    for said, message in (("[]", "holds no JSON object"), ('{"longfold_direct_tokens": "x"}', "a number of tokens")):
        (start / "config.json").write_text(said)
        with pytest.raises(CheckpointError, match=message):
            run(load("demo/memory", [*LEARN, f"start={start}", f"data={data}"]), tmp_path / "run")
    (start / "config.json").unlink()
    with pytest.raises(CheckpointError, match="is no policy folder: it has no config"):
        run(load("demo/memory", [*LEARN, f"start={start}", f"data={data}"]), tmp_path / "run")


def test_another_tokenizer_is_told(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    start, other, data = bigram({}), bigram({}), letters()
    spec = json.loads((other / "tokenizer.json").read_text())
    for token in spec["added_tokens"]:
        token["content"] = token["content"].replace("<keep>", "<stay>")
    (other / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(CheckpointError, match="another tokenizer than the demo policies"):
        run(load("demo/memory", [*LEARN, f"start={other}", f"data={data}"]), tmp_path / "run")
    with pytest.raises(CheckpointError, match="another tokenizer"):
        run(load("demo/merge", [f"base={start}", f'sources=["{start}", "{other}"]']), tmp_path / "merge")
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps(config | {"vocab_size": 200}))
    with pytest.raises(CheckpointError, match="tokenizer"):
        run(load("demo/memory", [*LEARN, f"start={start}", f"data={data}"]), tmp_path / "run")


def test_data_that_cannot_be_used_is_told(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    start, data = bigram({}), letters()

    def told(text: str, *settings: str) -> str:
        data.write_text(text)
        with pytest.raises(DataError) as error:
            run(load("demo/memory", [*LEARN, f"start={start}", f"data={data}", *settings]), tmp_path / "run")
        return str(error.value)

    good = data.read_text()
    assert "holds no problem" in told("")
    assert "has no problem of at most 10 tokens" in told(good, "limits.input_tokens=10")
    assert ":1: task: Field required" in told(good.replace('"task": "one", ', ""))
    assert "of each of 2 tasks" in told(good, "questions=1")
    data.unlink()
    with pytest.raises(DataError, match="cannot read"):
        run(load("demo/memory", [*LEARN, f"start={start}", f"data={data}"]), tmp_path / "run")


def test_a_judge_without_its_key_is_told(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    judge = ["judge.url=http://127.0.0.1:9", "judge.api_key_variable=NO_SUCH_KEY"]
    recipe = load("demo/evaluate", [f"start={bigram({})}", f"data={letters()}", *judge])
    with pytest.raises(RecipeError, match="NO_SUCH_KEY is not set"):
        run(recipe, tmp_path / "run")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", r"no judge answers at http://127\.0\.0\.1:9: .*ConnectError"),
        ("/wrong", r"no judge answers at .*/wrong: there is no .*/wrong/v1/models \(404\)"),
        ("/closed", r"the judge at .*/closed refuses the key in JUDGE_KEY \(401\)"),
    ],
)
def test_a_judge_that_is_not_there_is_told_before_the_first_attempt(
    bigram: Bigram, letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404 if self.path == "/wrong/v1/models" else 401)

        def log_message(self, format: str, *args: object) -> None:
            return

    monkeypatch.setenv("JUDGE_KEY", "a-key")
    told: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port if path else 9}{path}"
        settings = [f"start={bigram({})}", f"data={letters()}", f"judge.url={url}", "judge.api_key_variable=JUDGE_KEY"]
        with pytest.raises(JudgeError, match=message):
            run(load("demo/evaluate", settings), tmp_path, watch=lambda *seen: told.append(seen[-1]))
        server.shutdown()
    assert told == [f"asking the judge at {url}"]


def test_problems_follow_from_their_seed(bigram: Bigram, tmp_path: Path) -> None:
    settings = [f"start={bigram({})}", "documents=2", "chunks=[1, 2]", "chunk_tokens=512"]
    made = [
        run(load("demo/problems", [*settings, f"seed={seed}"]), tmp_path / name)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    texts = [path.read_text() for path in made if path is not None]
    assert texts[0] == texts[1] != texts[2]
    lines = [json.loads(line) for line in texts[0].splitlines()]
    assert [line["task"] for line in lines] == ["single", "update", "choice"] * 2
    with pytest.raises(RecipeError, match="families: sonnet unknown; there are single"):
        run(load("demo/problems", [*settings, 'families=["sonnet"]']), tmp_path / "d")


def test_families_that_share_no_document_have_documents_of_their_own(bigram: Bigram, tmp_path: Path) -> None:
    settings = [f"start={bigram({})}", "documents=2", "chunks=[1, 1]", "chunk_tokens=1024", "families_at_once=2"]
    path = run(load("demo/problems", settings), tmp_path / "a")
    assert path is not None
    made = list(read_problems(path))
    assert [problem.task for problem in made] == ["single", "update", "choice"] * 2
    assert len({problem.id for problem in made}) == 6
    texts = [problem.documents[0].text for problem in made]
    assert texts[0] == texts[1] != texts[2] and len(set(texts)) == 4


def test_a_question_whose_options_read_otherwise_is_no_problem() -> None:
    key = Key("Balance T", "staff officer", "person")
    items = [
        Item("choice", f"What is the staff officer of {name} A. Wan  B. Sergeant Clea", "B", key, (value,), ())
        for name, value in (
            ("Balance T. ", "Sergeant Clea"),  # an initial: no options at all
            ("Balance T?", "Sergeant Clea"),
            ("Balance T?", "Sergeant Clea A."),
        )
    ]
    # What the rule cannot tell apart.
    items.append(
        Item("choice", "What is the price of Norbel? A. £9 B. 9", "B", Key("Norbel", "price", "n"), ("9",), ())
    )
    items.append(Item("list", "List the prices of Norbel.", "9; £9", Key("Norbel", "prices", "n"), ("9; £9",), ()))
    made = of_document(Document(("text",), tuple(items)), "x")
    assert [(problem.id, problem.gold.golds[0]) for problem in made] == [("x-1", "B")]


def test_problems_over_several_facts_have_rules_of_their_own(bigram: Bigram, tmp_path: Path) -> None:
    settings = [f"start={bigram({})}", "documents=3", "chunks=[2, 3]", "chunk_tokens=1024"]
    path = run(load("demo/problems", [*settings, 'families=["list", "count", "hops"]']), tmp_path / "a")
    assert path is not None
    made = list(read_problems(path))
    assert [(problem.task, problem.gold.rule) for problem in made] == [
        ("list", "items"), ("count", "number"), ("hops", "exact"),
    ] * 3  # fmt: skip
    assert validate(made) == 9


def test_batches_without_balance_are_drawn_from_all(bigram: Bigram, letters: Letters, tmp_path: Path) -> None:
    settings = [*LEARN, f"start={bigram({})}", f"data={letters()}", "balanced=false", "questions=1", "steps=1"]
    assert run(load("demo/memory", settings), tmp_path / "run") is not None
    assert rows(tmp_path / "run")[0]["groups"] == 1
