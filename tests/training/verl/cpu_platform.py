"""Lets verl 0.9.1 run on a CPU: a platform, its FSDP engine, and an inference server that samples with transformers.

Loaded by VERL_USE_EXTERNAL_MODULES in every process of the slow test, before the recipe's own modules. It replaces what
needs a GPU and nothing of the recipe: trainer, agent loop, data set, sampler and objective are the real ones.
"""

from __future__ import annotations

import contextlib
import os
import types
from typing import Any

import ray
import torch
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry

ROLLOUT = "transformers_cpu"
_SERVER = "transformers_cpu_server_0_0"


class _Device(types.ModuleType):
    """torch.cuda's functions, for a device that has neither memory of its own nor streams."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(torch.cpu, name, lambda *args, **more: 0)


_device = _Device("cpu_device")
_device.current_device = lambda: "cpu"
_device.device_count = lambda: 1
_device.is_available = lambda: True
_device.get_rng_state = torch.get_rng_state
_device.set_rng_state = torch.set_rng_state
_device.manual_seed = torch.manual_seed
_device.mem_get_info = lambda *args: (1 << 34, 1 << 34)
_device.get_device_name = lambda *args: "cpu"


@PlatformRegistry.register(platform="cpu")
class Cpu(PlatformBase):
    device_name = property(lambda self: "cpu")
    vendor_name = property(lambda self: "cpu")
    device_module = property(lambda self: _device)

    def is_available(self):
        return True

    def is_platform_available(self, use_smi_check=False):
        return True

    def current_device(self):
        return "cpu"

    def device_count(self):
        return 1

    def set_device(self, index):
        pass

    def synchronize(self, index=None):
        pass

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    def manual_seed_all(self, seed):
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings):
        pass

    def empty_cache(self):
        pass

    def get_device_capability(self, index=0):
        return (None, None)

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, message):
        yield

    def profiler_start(self):
        pass

    def profiler_stop(self):
        pass

    def ray_resource_name(self):
        return "GPU"  # a logical resource: ray.init(num_gpus=1)

    def ray_noset_envvars(self):
        return []

    def is_ipc_supported(self):
        return False

    def cudart(self):
        return None


# These ask for the platform while they are imported.
import verl.utils.distributed  # noqa: E402
from verl.workers.engine import EngineRegistry  # noqa: E402
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead  # noqa: E402
from verl.workers.rollout import base as rollouts  # noqa: E402
from verl.workers.rollout.base import BaseRollout  # noqa: E402
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput  # noqa: E402

_initialize = verl.utils.distributed.initialize_global_process_group_ray
verl.utils.distributed.initialize_global_process_group_ray = lambda timeout_second=None, backend=None: _initialize(
    timeout_second, backend or "gloo"
)
EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cpu")(FSDPEngineWithLMHead)


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

    @torch.no_grad()
    async def generate(self, prompt_ids, sampling_params, request_id, **more):
        told = dict(sampling_params)
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
        return TokenOutput(
            token_ids=tokens, log_probs=logprobs, stop_reason="completed", extra_fields={"global_steps": self.step}
        )

    async def nothing(self, *args, **more):
        return None

    sleep = wake_up = clear_kv_cache = abort_all_requests = resume_generation = nothing
    release_kv_cache = resume_kv_cache = start_profile = stop_profile = nothing


class Replica(RolloutReplica):
    async def launch_servers(self):
        server = ray.remote(Server).options(name=_SERVER, num_cpus=0, max_concurrency=64)
        handle = server.remote(self.model_config["path"])
        await handle.nothing.remote()
        self.servers = [handle]
        self._server_handle = handle
        self._server_address = "127.0.0.1:0"


class Adapter(BaseRollout):
    """Brings the trained weights to the server."""

    async def resume(self, tags):
        pass

    async def release(self):
        pass

    async def update_weights(self, weights, wire_format="named_tensors", global_steps=None, **more):
        state = {name: weight.detach().float().cpu().clone() for name, weight in weights}
        if int(os.environ.get("RANK", "0")) == 0:
            await ray.get_actor(_SERVER).load.remote(state, global_steps)


rollouts._ROLLOUT_REGISTRY[(ROLLOUT, "async")] = f"{__name__}.Adapter"
RolloutReplicaRegistry.register(ROLLOUT, lambda: Replica)
