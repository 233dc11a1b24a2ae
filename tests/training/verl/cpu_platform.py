"""Lets verl 0.9.1 run on a CPU: a platform, its FSDP engine, and an inference server (cpu_server.py).

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
from cpu_server import Server
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
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry  # noqa: E402

_initialize = verl.utils.distributed.initialize_global_process_group_ray
verl.utils.distributed.initialize_global_process_group_ray = lambda timeout_second=None, backend=None: _initialize(
    timeout_second, backend or "gloo"
)
EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cpu")(FSDPEngineWithLMHead)


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
