"""The local engine samples from the model's distribution, whatever batch a request is in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from longfold_agent.errors import ContextOverflow, EngineRejected
from longfold_agent.profiles.demo import EOS, KEEP
from longfold_agent.protocols import Request
from longfold_agent.types import Message, Prompt, Sampling
from longfold_training.engines.local.policy import LocalPolicy
from longfold_training.engines.local.sample import LocalEngine
from longfold_training.errors import DivergedError, MemoryExhausted, RecipeError

Bigram = Callable[[Mapping[str, Mapping[str, float]]], Path]


def ask(text: str, max_tokens: int = 4, **sampling: object) -> Request:
    return Request(Prompt(text), Sampling(max_tokens, **sampling), want_ids=True)  # type: ignore[arg-type]


async def test_probabilities_are_those_of_the_temperature(bigram: Bigram) -> None:
    logits = {"A": math.log(6), "B": math.log(3), "C": 0.0, "": -100.0}
    engine = LocalEngine(LocalPolicy(bigram({"<ans>": logits}), device="cpu"))
    said = await engine.complete([ask("<ans>", 1, temperature=1.0, seed=seed) for seed in range(600)])
    shares = Counter(completion.text for completion in said)
    # 600 draws of 0.6, 0.3, 0.1: three standard deviations are 36, 34 and 22.
    assert shares["A"] == pytest.approx(360, abs=36) and shares["B"] == pytest.approx(180, abs=34)
    assert shares["C"] == pytest.approx(60, abs=22) and sum(shares[letter] for letter in "ABC") == 600
    chances = {"A": math.log(0.6), "B": math.log(0.3), "C": math.log(0.1)}
    for completion in said:
        assert completion.logprobs[0] == pytest.approx(chances[completion.text], abs=1e-3)

    # At temperature 1/2 the odds are squared: 36 : 9 : 1.
    (cold,) = await engine.complete([ask("<ans>", 1, temperature=0.5, seed=1)])
    assert cold.logprobs[0] == pytest.approx(math.log({"A": 36, "B": 9, "C": 1}[cold.text] / 46), abs=1e-3)

    # The head that reaches 0.85 is A and B; the log-probability stays that of the whole distribution.
    cut = await engine.complete([ask("<ans>", 1, temperature=1.0, top_p=0.85, seed=seed) for seed in range(200)])
    assert {completion.text for completion in cut} == {"A", "B"}
    assert {round(completion.logprobs[0], 2) for completion in cut} == {-0.51, -1.2}
    only = await engine.complete([ask("<ans>", 1, temperature=1.0, top_p=1e-9, seed=seed) for seed in range(50)])
    assert {completion.text for completion in only} == {"A"}


async def test_a_reply_does_not_depend_on_its_batch(policy: LocalPolicy) -> None:
    requests = [
        ask("<chunk>" + "x" * (3 * number) + "<out>", 12, temperature=1.0, seed=number % 3, top_p=0.95)
        for number in (0, 5, 9, 5, 20)
    ]
    together = await LocalEngine(policy).complete(requests)
    alone = await LocalEngine(policy, tokens_at_once=1).complete(requests)
    for one, other in zip(together, alone, strict=True):
        assert one.token_ids == other.token_ids and one.text == other.text
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert together[1].prompt_ids == tuple(policy.tokenizer("<chunk>" + "x" * 15 + "<out>")["input_ids"])


async def test_replies_are_one_row_until_they_differ(policy: LocalPolicy) -> None:
    read: list[int] = []
    hook = policy.decoder.register_forward_pre_hook(
        lambda _, given, named: read.append(named["input_ids"].shape[0]), with_kwargs=True
    )
    requests = [ask("<ans>", 6, temperature=1.0, seed=seed) for seed in (1, 1, 1, 2, 3)]
    replies = [one.token_ids for one in await LocalEngine(policy).complete(requests)]
    hook.remove()
    # What is read before the n-th token: as many rows as there are different beginnings among replies that go on.
    assert read == [len({reply[:said] for reply in replies if len(reply) > said}) for said in range(6)]
    assert read[0] == 1 < max(read) <= 3

    # Another temperature is another row from the start.
    mixed = [*requests, ask("<ans>", 6, temperature=0.5, seed=2), ask("<ans>", 6)]
    apart = [one for request in mixed for one in await LocalEngine(policy).complete([request])]
    together = await LocalEngine(policy).complete(mixed)
    assert [one.token_ids for one in together] == [one.token_ids for one in apart]


async def test_no_more_tokens_are_in_memory_than_were_told(policy: LocalPolicy) -> None:
    read: list[torch.Size] = []
    hook = policy.decoder.register_forward_pre_hook(
        lambda _, given, named: read.append(named["input_ids"].shape), with_kwargs=True
    )
    # Eight attempts at one question, of which three fit: 14 tokens of prompt and 6 of the reply each.
    requests = [ask("<chunk>" + "x" * 12 + "<out>", 6, temperature=1.0, seed=seed) for seed in range(8)]
    cut = await LocalEngine(policy, tokens_at_once=60).complete(requests)
    assert [rows for rows, length in read if length == 1 if rows > 3] == []
    assert read.count(torch.Size((1, 14))) == 3
    hook.remove()
    assert [one.token_ids for one in cut] == [one.token_ids for one in await LocalEngine(policy).complete(requests)]


@pytest.mark.parametrize(
    "sampling", [{}, {"temperature": 1.0, "seed": 1}, {"temperature": 1.0, "seed": 1, "top_p": 0.5}]
)
async def test_weights_that_are_no_numbers_are_told(policy: LocalPolicy, sampling: dict[str, float]) -> None:
    with torch.no_grad():
        policy.model.model.layers[1].mlp.up_proj.weight[0, 0] = math.nan
    with pytest.raises(DivergedError, match="no numbers: nan"):
        await LocalEngine(policy).complete([ask("<out>", 3, **sampling)])


async def test_memory_that_does_not_suffice_is_told(policy: LocalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    # More than an address space holds.
    policy.window = 1 << 50
    with pytest.raises(MemoryExhausted, match=r"you tried to allocate .*\nlower tokens_at_once"):
        await LocalEngine(policy).complete([ask("<out>", 1 << 45, temperature=1.0, seed=1)])

    def full(**told: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(policy.decoder, "forward", full)
    with pytest.raises(MemoryExhausted, match=r"CUDA out of memory.*\nlower tokens_at_once"):
        await LocalEngine(policy).complete([ask("<out>", 3)])


def test_a_gpu_that_is_not_there_is_told(random_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match="finds no GPU"):
        LocalPolicy(random_folder, device="cuda")


async def test_seeds_tell_attempts_apart(policy: LocalPolicy) -> None:
    same = [ask("<ans>", 16, temperature=1.0, seed=7)] * 2
    others = [ask("<ans>", 16, temperature=1.0, seed=seed) for seed in range(8)]
    said = await LocalEngine(policy).complete(same + others)
    assert said[0] == said[1]
    assert len({completion.token_ids for completion in said}) == 8


async def test_greedy_takes_the_likeliest_token_of_the_model(policy: LocalPolicy) -> None:
    (completion,) = await LocalEngine(policy).complete([ask("<q> what?<out>", 10)])
    ids = list(completion.prompt_ids)
    for token, logprob in zip(completion.token_ids, completion.logprobs, strict=True):
        with torch.no_grad():
            logits = policy.model(torch.tensor([ids])).logits[0, -1]
        assert token == int(logits.argmax())
        assert logprob == pytest.approx(float(logits.log_softmax(-1)[token]), abs=1e-4)
        ids.append(token)


async def test_the_log_probabilities_are_those_that_training_sees(policy: LocalPolicy) -> None:
    requests = [ask("<q>" + "y" * number, 8, temperature=0.7, seed=number) for number in (1, 6)]
    for completion in await LocalEngine(policy).complete(requests):
        ids = torch.tensor([completion.prompt_ids + completion.token_ids])
        targets = torch.arange(ids.shape[1])[None] >= len(completion.prompt_ids)
        logprobs, entropies = policy.scores(ids, targets, 0.7)
        assert logprobs.tolist() == pytest.approx(completion.logprobs, abs=1e-4)
        with torch.no_grad():
            chances = (policy.model(ids).logits[0, len(completion.prompt_ids) - 1 : -1].double() / 0.7).softmax(-1)
        assert entropies.tolist() == pytest.approx((-chances * chances.log()).sum(-1).tolist(), abs=1e-4)


async def test_ends_are_told_as_vllm_tells_them(bigram: Bigram) -> None:
    engine = LocalEngine(LocalPolicy(bigram({"x": {"x": 9.0}}), device="cpu"))
    extra = {"skip_special_tokens": False}
    kept, answered, cut = await engine.complete(
        [
            ask("<out>", stop_token_ids=(EOS, KEEP), extra=extra),
            ask("<ans>", stop_token_ids=(EOS,), extra=extra),
            ask("x", 5),
        ]
    )
    assert (kept.text, kept.stop_reason, kept.token_ids, kept.finish_reason) == ("", KEEP, (KEEP,), "stop")
    assert (answered.text, answered.stop_reason, answered.token_ids[1:]) == ("A", None, (EOS,))
    assert (cut.text, cut.finish_reason, cut.usage.completion_tokens) == ("xxxxx", "length", 5)


async def test_a_bias_moves_the_odds(bigram: Bigram) -> None:
    engine = LocalEngine(LocalPolicy(bigram({}), device="cpu"))
    (biased,) = await engine.complete([ask("<out>", 2, logit_bias={KEEP: -20.0, EOS: 5.0})])
    assert biased.token_ids == (EOS,)


async def test_what_it_cannot_do_is_refused(policy: LocalPolicy) -> None:
    engine = LocalEngine(policy)
    assert await engine.window() == 512
    with pytest.raises(ContextOverflow, match="510 prompt tokens and 4 for the reply do not fit 512"):
        await engine.complete([ask("x" * 510)])
    with pytest.raises(EngineRejected, match="stop strings"):
        await engine.complete([ask("x", stop=("\n",))])
    with pytest.raises(EngineRejected, match="with a seed only"):
        await engine.complete([ask("x", temperature=1.0)])


async def test_messages_go_through_the_chat_template(policy: LocalPolicy) -> None:
    policy.tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}{{ name or 'assistant' }}:{% endif %}"
    )
    prompt = Prompt(messages=(Message("user", "hello"),))
    plain, named = await LocalEngine(policy).complete(
        [
            Request(prompt, Sampling(1), want_ids=True),
            Request(prompt, Sampling(1, extra={"chat_template_kwargs": {"name": "me"}}), want_ids=True),
        ]
    )
    assert policy.tokenizer.decode(plain.prompt_ids) == "user: hello\nassistant:"
    assert policy.tokenizer.decode(named.prompt_ids) == "user: hello\nme:"


async def test_a_stream_is_the_whole_reply(policy: LocalPolicy) -> None:
    deltas = [delta async for delta in LocalEngine(policy).stream(ask("<ans>", 6))]
    assert deltas[-1].completion is not None
    assert "".join(delta.text for delta in deltas) == deltas[-1].completion.text
