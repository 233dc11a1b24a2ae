"""An inference server for verl on a CPU, over transformers.

Apart from cpu_platform.py: Ray imports this module first in the server's process, and what it imports may not need
verl's platform yet.
"""

from __future__ import annotations

import torch


class Server:
    """One token at a time, from the softmax at the request's temperature."""

    def __init__(self, path):
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.step = 0

    async def load(self, weights, step):
        missing, unexpected = self.model.load_state_dict(weights, strict=False)
        assert not unexpected and not missing, (missing, unexpected)
        self.step = self.step if step is None else step

    async def generate(self, prompt_ids, sampling_params, request_id, **more):
        from verl.workers.rollout.replica import TokenOutput

        with torch.no_grad():
            tokens, logprobs = self.sample(prompt_ids, sampling_params)
        return TokenOutput(
            token_ids=tokens, log_probs=logprobs, stop_reason="completed", extra_fields={"global_steps": self.step}
        )

    def sample(self, prompt_ids, told):
        ids, cache, tokens, logprobs = torch.tensor([prompt_ids]), None, [], []
        while len(tokens) < told["max_tokens"]:
            found = self.model(ids, past_key_values=cache, use_cache=True)
            cache = found.past_key_values
            logits = found.logits[0, -1].float()
            for token, bias in told.get("logit_bias", {}).items():
                logits[token] += bias
            chances = (logits / max(told["temperature"], 1e-5)).log_softmax(-1)
            token = int(chances.exp().multinomial(1)) if told["temperature"] else int(chances.argmax())
            tokens.append(token)
            logprobs.append(float(chances[token]))
            if token in told["stop_token_ids"]:
                break
            ids = torch.tensor([[token]])
        return tokens, logprobs

    async def nothing(self, *args, **more):
        return None

    sleep = wake_up = clear_kv_cache = abort_all_requests = resume_generation = nothing
    release_kv_cache = resume_kv_cache = start_profile = stop_profile = nothing
