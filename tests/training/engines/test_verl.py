"""What engines/verl does without verl: the local engine's objective, its data set, its engine, its files."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from longfold_agent.errors import ContextOverflow, EngineRejected, EngineUnavailable
from longfold_agent.protocols import Request
from longfold_agent.types import Message, Prompt, Sampling
from longfold_training.core.sampler import TaskBalanced
from longfold_training.core.trajectory import Step, Trajectory
from longfold_training.engines.control import Controller
from longfold_training.engines.encoding import encode
from longfold_training.engines.local.learn import Learner
from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.engines.local.sample import LocalEngine
from longfold_training.engines.verl import __main__ as launcher
from longfold_training.engines.verl import memory, settings
from longfold_training.engines.verl.attempt import Shared, attempt
from longfold_training.engines.verl.dataset import BalancedBatches, ProblemDataset, read
from longfold_training.engines.verl.generation import GenerationEngine
from longfold_training.engines.verl.objective import Row, attempts, check_complete, means, objective
from longfold_training.engines.verl.settings import Settings, check
from longfold_training.episodes import Episode
from longfold_training.errors import CheckpointError, DataError, DivergedError, RecipeError, RolloutError
from longfold_training.problems import Problem
from longfold_training.problems import load as load_problems
from longfold_training.recipes import Judge, Limits, Reinforce, load

Bigram = Callable[[Mapping[str, Mapping[str, float]]], Path]
Make = Callable[..., Reinforce]
CONFIG = Path(settings.__file__).parent / "config"
STAGES = ("full-context-1", "full-context-2", "full-context-3", "memory", "full-context-4")
SMALL = ("4b-full-context", "4b-memory")


# The objective


def of(*options: str) -> Settings:
    """Settings as the local recipe with the same options has them."""
    recipe = load("demo/memory", ["aepo.enabled=false", "aepo.unit=nats", *options])
    assert isinstance(recipe, Reinforce)
    return Settings(
        profile=recipe.profile,
        reading=recipe.reading,
        advantage=recipe.advantage,
        aepo=recipe.aepo,
        clipping=recipe.clipping,
    )


def rows_of(trajectories: Sequence[Trajectory], padding: int = 0) -> list[Row]:
    """verl's rows of a batch, in an order in which the steps of an attempt do not stand together."""
    rows, seen = [], dict[str, int]()
    for trajectory in trajectories:
        attempt = seen[trajectory.group] = seen.get(trajectory.group, -1) + 1
        for number, step in enumerate(trajectory.steps):
            key = f"{trajectory.group}_{attempt}_{number}"
            rows.append(Row(key, trajectory.task, trajectory.reward, len(step.completion)))
    rows += [Row(f"padabc_{number}_0", trajectories[0].task, 0.0, 0, True) for number in range(padding)]
    return rows[::2] + rows[1::2]


def step(length: int, token: int = 1) -> Step:
    return Step((token,), (token,) * length, (-1.0,) * length)


@st.composite
def batches(draw: st.DrawFn) -> list[Trajectory]:
    batch = []
    for group in range(draw(st.integers(1, 4))):
        task = draw(st.sampled_from(("x", "y")))
        for _ in range(draw(st.integers(1, 4))):
            steps = tuple(step(draw(st.integers(1, 5))) for _ in range(draw(st.integers(1, 3))))
            batch.append(Trajectory(f"g_{group}", task, steps, draw(st.sampled_from((0.0, 0.5, 1.0)))))
    return batch


def test_by_hand() -> None:
    # Group a: rewards 1 and 0, 3 + 1 tokens in two rows and 2 in one; group b: rewards 1 and 0, one token each.
    batch = [
        Trajectory("a", "x", (step(3), step(1)), 1.0),
        Trajectory("a", "x", (step(2),), 0.0),
        Trajectory("b", "y", (step(1),), 1.0),
        Trajectory("b", "y", (step(1),), 0.0),
    ]
    rows = rows_of(batch, padding=1)
    mask = torch.arange(3) < torch.tensor([[row.tokens] for row in rows])
    entropies = torch.full(mask.shape, 0.2)
    found = objective(Controller(of()), rows, entropies, mask)
    # A = +-0.5 / std, std of (1, 0) is sqrt(1/2); 8 tokens, 2 groups of 6 and 2: factors 8 / 12 and 8 / 4.
    unit = 0.5 / (math.sqrt(0.5) + 1e-6)
    expected = {
        "a_0_0": unit * 2 / 3,
        "a_0_1": unit * 2 / 3,
        "a_1_0": -unit * 2 / 3,
        "b_0_0": 2 * unit,
        "b_1_0": -2 * unit,
    }
    for row, advantages in zip(rows, found.advantages, strict=True):
        assert advantages[: row.tokens].tolist() == pytest.approx([expected.get(row.key, 0.0)] * row.tokens)
        assert not advantages[row.tokens :].any()
    assert found.live
    assert (found.figures["trajectories"], found.figures["rows"], found.figures["groups"]) == (4, 5, 2)
    assert found.figures["entropy"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("advantage=group",),
        ("advantage=batch",),
        ("aepo.enabled=true", "aepo.low=0.1", "aepo.high=0.2"),
        ("aepo.enabled=true", "aepo.rule=snippet", "aepo.low=0.0", "aepo.high=9.0"),
        ("clipping.level=token", "clipping.threshold=1.0"),
        ("clipping.level=sequence", "clipping.side=low", "clipping.threshold=2.5"),
    ],
)
def test_both_engines_take_the_same_step(random_folder: Path, recipe: Make, options: tuple[str, ...]) -> None:
    batch = [
        Trajectory("a", "x", (step(2, 5), step(4, 6)), 1.0),
        Trajectory("a", "x", (step(2, 5), step(3, 7)), 0.0),
        Trajectory("a", "x", (step(5, 8), step(2, 9), step(1, 6)), 0.0),
        Trajectory("b", "y", (step(3, 10),), 0.25),
        Trajectory("b", "y", (step(1, 11),), 1.0),
        Trajectory("c", "y", (step(4, 12),), 0.5),
        Trajectory("c", "y", (step(2, 12),), 0.5),
    ]
    local = LocalPolicy(random_folder, device="cpu")
    figures = Learner(local, recipe("optimiser.max_gradient_norm=1e9", *options)).learn(batch)

    policy = LocalPolicy(random_folder, device="cpu")
    rows = rows_of(batch, padding=3)
    longest = max(row.tokens for row in rows)
    mask = torch.arange(longest) < torch.tensor([[row.tokens] for row in rows])
    logprobs, entropies = torch.zeros(mask.shape), torch.zeros(mask.shape)
    steps = dict(zip([row.key for row in rows_of(batch)], ordered(batch), strict=True))
    for place, row in enumerate(rows):
        if not row.padding:
            of_step = scores(policy, steps[row.key])
            logprobs[place, : row.tokens], entropies[place, : row.tokens] = of_step
    found = objective(Controller(of(*options)), rows, entropies.detach(), mask)
    # verl's loss: at ratio 1, minus the sum over completion tokens, divided by all tokens of the batch.
    ratio = (logprobs - logprobs.detach()).exp()
    loss = -(ratio * found.advantages * mask).sum() / mask.sum()
    gradients = torch.autograd.grad(loss, list(policy.trainable().values()))
    assert figures["gradient_norm"] > 0
    for weight, gradient in zip(local.trainable().values(), gradients, strict=True):
        assert weight.grad is not None
        assert torch.allclose(weight.grad, gradient, atol=1e-5 * figures["gradient_norm"], rtol=1e-3)
    for name in ("entropy", "masking", "silenced", "groups_without_gradient", "advantage/x", "advantage/y"):
        assert found.figures[name] == pytest.approx(figures[name], rel=1e-5), name


def ordered(batch: Sequence[Trajectory]) -> list[Step]:
    """The steps in the order of `rows_of`."""
    steps = [one for trajectory in batch for one in trajectory.steps]
    return steps[::2] + steps[1::2]


def scores(policy: LocalPolicy, one: Step) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.tensor([one.prompt + one.completion])
    targets = torch.ones_like(tokens, dtype=torch.bool)
    targets[0, : len(one.prompt)] = False
    return policy.scores(tokens, targets, 0.7)


@given(batches(), st.integers(0, 3))
def test_the_order_of_rows_and_padding_change_nothing(batch: list[Trajectory], padding: int) -> None:
    rows = rows_of(batch, padding)
    longest = max(row.tokens for row in rows)
    mask = torch.arange(longest) < torch.tensor([[row.tokens] for row in rows])
    entropies = torch.tensor([[float(len(row.key) + row.tokens)] * longest for row in rows])
    one = objective(Controller(of()), rows, entropies, mask)
    turned = [len(rows) - 1 - place for place in range(len(rows))]
    other = objective(Controller(of()), [rows[place] for place in turned], entropies[turned], mask[turned])
    assert torch.allclose(one.advantages, other.advantages[turned], atol=1e-6)
    assert one.figures == pytest.approx(dict(other.figures))
    found, owners = attempts(rows)
    assert len(found) == len(batch) and owners.count(-1) == padding
    assert sum(attempt.tokens for attempt in found) == sum(trajectory.tokens for trajectory in batch)


def test_a_batch_without_any_difference_has_no_gradient() -> None:
    rows = rows_of([Trajectory("a", "x", (step(2),), 1.0), Trajectory("a", "x", (step(1),), 1.0)])
    found = objective(Controller(of()), rows, torch.zeros(2, 2), torch.tensor([[True, True], [True, False]]))
    assert not found.live and found.figures["groups_without_gradient"] == 1


def test_an_entropy_that_is_no_number_stops() -> None:
    rows = rows_of([Trajectory("a", "x", (step(1),), 1.0), Trajectory("a", "x", (step(1),), 0.0)])
    for options in ((), ("aepo.enabled=true",)):
        with pytest.raises(DivergedError, match="entropy is nan"):
            objective(Controller(of(*options)), rows, torch.full((2, 1), math.nan), torch.ones(2, 1))


def test_rows_of_one_attempt_agree() -> None:
    rows = [Row("a_0_0", "x", 1.0, 2), Row("a_0_1", "x", 0.0, 2)]
    with pytest.raises(DataError, match="attempt 0 at a"):
        attempts(rows)
    with pytest.raises(DataError, match="no key of a row"):
        attempts([Row("a", "x", 1.0, 2)])


def test_an_outage_does_not_shrink_the_batch() -> None:
    keys = [f"q{question}_{attempt}_{number}" for question in range(4) for attempt in range(2) for number in range(3)]
    assert check_complete(keys, 4, 2, 0.0) == 0
    with pytest.raises(RolloutError, match="1 of 8 attempts failed"):
        check_complete(keys[3:], 4, 2, 0.0)
    assert check_complete(keys[3:], 4, 2, 0.125) == 1
    with pytest.raises(RolloutError, match="2 of 8"):
        check_complete(keys[6:], 4, 2, 0.125)


def test_the_controller_goes_on_where_it_was() -> None:
    switched = ("aepo.enabled=true", "aepo.low=0.1", "aepo.high=0.3")
    rows = rows_of([Trajectory("a", "x", (step(1),), 1.0), Trajectory("a", "x", (step(1),), 0.0)])
    before, after = Controller(of(*switched)), Controller(of(*switched))
    assert objective(before, rows, torch.full((2, 1), 0.4), torch.ones(2, 1)).figures["masking"] == 1
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert objective(after, rows, torch.full((2, 1), 0.2), torch.ones(2, 1)).figures["masking"] == 1
    with pytest.raises(CheckpointError, match="entropy controller"):
        after.load_state_dict({})


def test_means_are_over_those_that_have_a_figure() -> None:
    assert means([{"score": 1.0, "keep": 0.5}, {"score": 0.0}]) == {"score": 0.5, "keep": 0.5}
    assert means([]) == {}


# The data set


@dataclass
class Named:
    """A Hugging Face tokenizer, as far as the data set looks at it."""

    name_or_path: str


def test_a_row_names_its_problem_and_carries_no_document(
    bigram: Bigram, letters: Callable[..., Path], tmp_path: Path
) -> None:
    file = letters(count=3)
    # Lines of other lengths, and one that is blank.
    file.write_text("\n" + file.read_text().replace("item 0", "item zero"))
    found = ProblemDataset(str(file), Named(str(bigram({}))), {"input_tokens": 1000})
    assert len(found) == 3 and found.tasks == ["one", "two", "one"] and found.left_out == 0
    row = found[1]
    assert "Nothing stands here" not in json.dumps({key: str(value) for key, value in row.items()})
    assert row["data_source"] == "two" and row["raw_prompt"][0]["content"].startswith("What is the code of item 1")
    assert [read(found[number]["problem"]).id for number in range(3)] == ["q0", "q1", "q2"]
    assert read(found[0]["problem"]).question.startswith("What is the code of item zero")
    with pytest.raises(DataError, match="has changed"):
        read(row["problem"] | {"offset": row["problem"]["offset"] + 1})
    with pytest.raises(DataError, match="every node must see it"):
        read(row["problem"] | {"file": str(tmp_path / "away.jsonl")})


def test_what_cannot_be_trained_on_is_told(bigram: Bigram, letters: Callable[..., Path], tmp_path: Path) -> None:
    tokenizer, file = Named(str(bigram({}))), letters(count=2)
    # 126 characters, of which every one is a token.
    assert len(ProblemDataset([str(file)], tokenizer, {"input_tokens": 126}, max_samples=1)) == 1
    with pytest.raises(DataError, match="no problem of at most 125 tokens"):
        ProblemDataset(str(file), tokenizer, {"input_tokens": 125})
    with pytest.raises(DataError, match="id 'q0' was used before"):
        ProblemDataset([str(file), str(file)], tokenizer, {"input_tokens": 1000})
    with pytest.raises(DataError, match="cannot read"):
        ProblemDataset(str(tmp_path / "away.jsonl"), tokenizer, {"input_tokens": 1000})
    broken = tmp_path / "broken.jsonl"
    broken.write_text(file.read_text().replace('"task"', '"tusk"'))
    with pytest.raises(DataError, match=r"broken.jsonl:1: task"):
        ProblemDataset(str(broken), tokenizer, {"input_tokens": 1000})


def test_batches_go_on_where_they_were() -> None:
    labels = ["x", "y", "x", "y"]
    one, other = (BalancedBatches(TaskBalanced(labels, 2)) for _ in range(2))
    drawn = [batch for batch, _ in zip(one, range(3), strict=False)]
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert next(iter(one)) == next(iter(other))
    assert all({labels[place] for place in batch} == {"x", "y"} for batch in drawn)


# The engine


@dataclass
class Reply:
    token_ids: Sequence[int]
    log_probs: Sequence[float] | None
    extra_fields: Mapping[str, Any] = field(default_factory=lambda: {"global_steps": 7})


class Local:
    """verl's client over a policy in this process: ids in, ids out."""

    def __init__(self, policy: LocalPolicy) -> None:
        self.policy = policy
        self.asked: list[dict[str, Any]] = []

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Reply:
        self.asked.append({"request_id": request_id, **sampling_params})
        tokens, logprobs = list(prompt_ids), []
        for _ in range(sampling_params["max_tokens"]):
            logits = self.policy.model(torch.tensor([tokens])).logits[0, -1].log_softmax(-1)
            tokens.append(int(logits.argmax()))
            logprobs.append(float(logits.max()))
            if tokens[-1] in sampling_params["stop_token_ids"]:
                break
        return Reply(tokens[len(prompt_ids) :], logprobs)


class Aborted(Local):
    """A client whose server goes away."""

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Reply:
        return Reply([], None)


@pytest.mark.parametrize(("limit", "letters"), [(8, ""), (1, ""), (8, "A")])
def test_it_replies_as_the_local_engine_does(bigram: Bigram, limit: int, letters: str) -> None:
    policy = LocalPolicy(bigram({"<ans>": {"A": 12.0}}), device="cpu")
    stop = tuple(map(policy.tokenizer.convert_tokens_to_ids, letters))
    servers = Local(policy)
    engine = GenerationEngine(servers, policy.tokenizer, stops=policy.stops, window=policy.window, affinity="q1")
    request = Request(Prompt("<ans>"), Sampling(limit, stop_token_ids=stop), want_ids=True)
    with torch.no_grad():
        [found] = asyncio.run(engine.complete([request]))
        [expected] = asyncio.run(LocalEngine(policy).complete([request]))
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-5)
    assert (found.text, found.finish_reason, found.stop_reason) == (
        expected.text, expected.finish_reason, expected.stop_reason,
    )  # fmt: skip
    assert (found.token_ids, found.prompt_ids, found.usage) == (
        expected.token_ids, expected.prompt_ids, expected.usage,
    )  # fmt: skip
    assert engine.versions == [7] and servers.asked[0]["request_id"] == "q1"


def test_what_the_servers_cannot_do_is_told(bigram: Bigram) -> None:
    policy = LocalPolicy(bigram({}), device="cpu")

    def ask(servers: Local, sampling: Sampling) -> None:
        engine = GenerationEngine(servers, policy.tokenizer, stops=policy.stops, window=16)
        asyncio.run(engine.complete([Request(Prompt("<ans>"), sampling)]))

    with pytest.raises(ContextOverflow, match="1 prompt tokens and 16 for the reply do not fit 16"):
        ask(Local(policy), Sampling(16))
    with pytest.raises(EngineRejected, match="stop strings"):
        ask(Local(policy), Sampling(8, stop=("x",)))
    with pytest.raises(EngineUnavailable, match="gave up"):
        ask(Aborted(policy), Sampling(8))


def test_messages_go_through_the_chat_template(bigram: Bigram) -> None:
    policy = LocalPolicy(bigram({}), device="cpu")
    policy.tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}{{ tail }}<ans>"
    engine = GenerationEngine(Local(policy), policy.tokenizer, stops=policy.stops, window=64)
    told = Sampling(4, extra={"chat_template_kwargs": {"tail": "!"}})
    request = Request(Prompt(messages=(Message("user", "Hm"),)), told)
    with torch.no_grad():
        [found] = asyncio.run(engine.complete([request]))
    assert list(found.prompt_ids) == encode(policy.tokenizer, request)
    assert policy.tokenizer.decode(found.prompt_ids) == "Hm!<ans>"


# An attempt


def reading(**more: Any) -> Settings:
    return Settings(profile="demo", reading="fold", limits=Limits(input_tokens=1000, chunk_tokens=64), **more)


def attempted(policy: LocalPolicy, servers: Local, problem: Problem) -> tuple[Episode, list[int]]:
    shared = Shared.of(reading(), policy.folder, policy.window)
    with torch.no_grad():
        return asyncio.run(
            attempt(shared, problem, servers=servers, tokenizer=policy.tokenizer, temperature=0.7, top_p=0.9)
        )


@pytest.mark.parametrize(("letter", "reward"), [("A", 1.0), ("B", 0.0)])
def test_an_attempt_is_read_answered_and_graded(
    bigram: Bigram, letters: Callable[..., Path], letter: str, reward: float
) -> None:
    policy = LocalPolicy(bigram({"<ans>": {letter: 12.0}}), device="cpu")
    data = ProblemDataset(str(letters(count=2)), Named(str(policy.folder)), {"input_tokens": 1000})
    servers = Local(policy)
    episode, versions = attempted(policy, servers, read(data[1]["problem"]))
    trajectory = episode.trajectory
    assert (trajectory.group, trajectory.task, trajectory.reward) == ("q1", "two", reward)
    # Two chunks and the answer; every prompt ends where its reply begins.
    assert [policy.tokenizer.decode(step.completion) for step in trajectory.steps] == ["<keep>"] * 2 + [
        f"{letter}<eos>"
    ]
    assert [policy.tokenizer.decode(step.prompt[-1:]) for step in trajectory.steps] == ["<out>", "<out>", "<ans>"]
    assert versions == [7, 7, 7]
    assert {(asked["temperature"], asked["top_p"]) for asked in servers.asked} == {(0.7, 0.9)}


def test_an_attempt_without_a_server_is_an_error_and_no_reward(bigram: Bigram, letters: Callable[..., Path]) -> None:
    policy = LocalPolicy(bigram({}), device="cpu")
    [problem, *_] = load_problems(letters())
    with pytest.raises(RolloutError, match="gave up"):
        attempted(policy, Aborted(policy), problem)


def test_a_judge_needs_its_key(bigram: Bigram, monkeypatch: pytest.MonkeyPatch) -> None:
    told = reading(judge=Judge(url="http://127.0.0.1:9/v1", api_key_variable="JUDGE_KEY"))
    folder = bigram({})
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(RecipeError, match="JUDGE_KEY is not set in the environment"):
        Shared.of(told, folder, 4096)
    monkeypatch.setenv("JUDGE_KEY", "a-key")
    assert Shared.of(told, folder, 4096).window == 4096
    with pytest.raises(CheckpointError, match="does not exist"):
        Shared.of(told, folder / "away", 4096)


# The Hydra files


def composed(name: str) -> dict[str, Any]:
    """A stage's file over the common one, without verl's own defaults below them."""

    def over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
        merged = dict(below)
        for key, value in above.items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = over(merged[key], value) if both else value
        return merged

    files = [yaml.safe_load((CONFIG / f"{part}.yaml").read_text()) for part in ("longfold", name)]
    assert [file.pop("defaults") for file in files] == [["ppo_trainer", "_self_"], ["longfold", "_self_"]]
    return over(*files)


def test_there_is_a_file_for_every_stage() -> None:
    assert {path.stem for path in CONFIG.glob("*.yaml")} == {"longfold", *STAGES, *SMALL}


@pytest.mark.parametrize("stage", [*STAGES, *SMALL])
def test_a_stage_has_the_values_of_its_recipe(stage: str) -> None:
    # One GPU trains adapters of the 4B model, at a rate of their own; eight GPUs train all weights at the paper's.
    small = ["optimiser.learning_rate=2e-6", "lora.rank=0"] if stage in SMALL else []
    recipe = load(stage.replace("4b-", "4b/") if stage in SMALL else f"qwenlong/{stage}", small)
    assert isinstance(recipe, Reinforce)
    found = composed(stage)
    own = check(found | {"algorithm": found["algorithm"] | {"filter_groups": {"enable": False}}})
    for name in ("profile", "reading", "limits", "balanced", "advantage", "aepo", "clipping", "dense", "seed"):
        assert getattr(own, name) == getattr(recipe, name), name
    rollout, actor = found["actor_rollout_ref"]["rollout"], found["actor_rollout_ref"]["actor"]
    assert (rollout["n"], rollout["temperature"], rollout["top_p"]) == (
        recipe.rollouts.group, recipe.rollouts.temperature, recipe.rollouts.top_p,
    )  # fmt: skip
    assert found["data"]["train_batch_size"] == recipe.questions
    assert found["trainer"]["total_training_steps"] == recipe.steps
    assert actor["optim"]["lr"] == recipe.optimiser.learning_rate
    assert tuple(actor["optim"]["betas"]) == recipe.optimiser.betas
    assert actor["optim"]["weight_decay"] == recipe.optimiser.weight_decay
    assert found["data"]["max_prompt_length"] > (recipe.limits.chunk_tokens or recipe.limits.input_tokens)
    assert found["trainer"]["experiment_name"] == stage
    loaded = found["ray_kwargs"]["ray_init"]["runtime_env"]["env_vars"]["VERL_USE_EXTERNAL_MODULES"]
    assert loaded == settings.MODULES


def changed(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    name, dot, rest = key.partition(".")
    return config | {name: changed(config.get(name, {}), rest, value) if dot else value}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("longfold.tempo", 1, "longfold.tempo: Extra inputs"),
        ("longfold.aepo.low", 0.9, "longfold.aepo: .*low must be less than high"),
        ("longfold", None, "longfold"),
        ("actor_rollout_ref.actor.loss_agg_mode", "seq-mean-token-mean", "loss_agg_mode must be 'token-mean'"),
        ("actor_rollout_ref.actor.ppo_epochs", 2, "ppo_epochs must be 1"),
        ("actor_rollout_ref.actor.use_kl_loss", True, "use_kl_loss must be False"),
        ("algorithm.adv_estimator", "gae", "adv_estimator must be 'grpo'"),
        ("algorithm.filter_groups.enable", True, "filter_groups.enable must be False"),
        ("algorithm.rollout_correction.bypass_mode", True, "measures the entropy"),
        ("actor_rollout_ref.rollout.n", 1, "rollout.n must be at least 2"),
        ("actor_rollout_ref.rollout.max_model_len", 40960, "max_model_len must be .*84992, not 40960"),
        ("actor_rollout_ref.actor.ppo_max_token_len_per_gpu", 8192, "is 32768, less than the longest row, 84992"),
        ("longfold.limits.output_tokens", 99_999, "output_tokens is 99999, but data.max_response_length only 32768"),
        ("data.dataloader_num_workers", 8, "dataloader_num_workers must be 0"),
    ],
)
def test_what_would_train_something_else_is_refused(key: str, value: Any, told: str) -> None:
    config = changed(composed("memory"), "algorithm.filter_groups.enable", False)
    assert check(config).reading == "fold"
    with pytest.raises(RecipeError, match=told):
        check(changed(config, key, value))


# The launcher and the arithmetic


def test_a_stage_becomes_verl_s_command() -> None:
    assert launcher.stages() == tuple(sorted((*STAGES, *SMALL)))
    assert launcher.command("memory", ["trainer.nnodes=4"])[-3:] == ["--config-name", "memory", "trainer.nnodes=4"]


@pytest.mark.parametrize("arguments", [[], ["full-context"], ["longfold"]])
def test_another_name_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(arguments) == 2
    assert "full-context-1, full-context-2, full-context-3, full-context-4, memory" in capsys.readouterr().err


def test_the_shape_is_the_model_s() -> None:
    # Qwen3-30B-A3B: 30.5 billion parameters; 48 layers x 4 heads x 128 x 2 tensors x 2 bytes = 96 KiB a token.
    assert memory.Shape().parameters == 30_531_911_680
    assert memory.Shape().kv_bytes == 96 * 1024
    # Qwen3-4B: 4.02 billion, and 36 layers x 8 heads x 128 x 2 tensors x 2 bytes = 144 KiB.
    assert memory.QWEN3_4B.parameters == pytest.approx(4.02e9, rel=1e-3)
    assert memory.QWEN3_4B.kv_bytes == 144 * 1024


def test_the_arithmetic_by_hand() -> None:
    shape = memory.Shape(
        layers=2, hidden=8, heads=4, kv_heads=2, head_dim=2, experts=4, active_experts=2, expert_width=3, vocabulary=10
    )
    # Attention 8 x 2 x (8 + 4), router 8 x 4, experts 3 x 4 x 8 x 3.
    assert shape.layer_parameters == 192 + 32 + 288 and shape.parameters == 2 * 512 + 160
    stage = memory.Stage(gpus=4, tokens=64, sequence_parallel=4, tensor_parallel=2, gpu_bytes=10_000, utilisation=0.5)
    found = list(memory.update(shape, stage).values())
    # 16 x 1184 / 4; 8 x 512; 4 x 80; 16 tokens x 8 x 2 x 2; experts 16 x 2 x 25 x 4 and attention 64 x 4 x 2 x 4
    # ((8 + 8) / 4 heads, since four ranks share two heads of keys); 3 x 512 x 10 x 4.
    assert found == [4736, 4096, 320, 512, 3200 + 2048, 61_440]
    # Two replicas of 10,000 bytes without 2,368 of weights; an attempt takes 64 x 2 x 2 x 2 x 2 x 2 = 2,048.
    assert memory.together(shape, stage) == 2 * 3
    assert memory.host(shape, stage) == 12 * 1184 * 2


def test_the_guide_holds_the_table() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "training-verl.md").read_text()
    assert memory.table((memory.Stage(8), memory.Stage(32), memory.Stage(64))) in guide
    assert memory.table((memory.MEMORY_4B,), memory.QWEN3_4B) in guide
    assert composed("4b-memory")["actor_rollout_ref"]["rollout"]["max_model_len"] == memory.MEMORY_4B.tokens
    for stage in (*STAGES, *SMALL):
        found = composed(stage)
        window = found["actor_rollout_ref"]["rollout"]["max_model_len"]
        ranks = found["actor_rollout_ref"]["actor"]["ulysses_sequence_parallel_size"]
        [line] = [line for line in guide.splitlines() if line.startswith(f"| `{stage}` |")]
        assert f"| {window:,} | {ranks} |" in line
