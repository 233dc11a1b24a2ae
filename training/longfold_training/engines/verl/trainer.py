"""The recipe as verl's V1 trainer: balanced batches, one update a batch, our advantages, a controller in the
checkpoint. Knows no formula: those are in `core`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf, open_dict
from tensordict import TensorDict
from torchdata.stateful_dataloader import StatefulDataLoader
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer
from verl.utils.dataset.rl_dataset import collate_fn
from verl.utils.metric import reduce_metrics
from verl.utils.py_functional import rename_dict
from verl.workers.utils.padding import response_to_nested

from longfold_training.core.sampler import TaskBalanced
from longfold_training.engines.control import Controller
from longfold_training.engines.verl.dataset import BalancedBatches
from longfold_training.engines.verl.objective import Row, check_complete, means, objective
from longfold_training.engines.verl.settings import NAME, check
from longfold_training.errors import CheckpointError, DivergedError
from longfold_training.folders import whole_file
from longfold_training.policy_folder import check_folder

STATE = "longfold.json"
"""In a checkpoint's folder, beside verl's own files."""


@register_trainer(NAME)
class LongfoldTrainer(PPOTrainerSync):  # type: ignore[misc]
    """Chosen by `trainer.v1.trainer_mode: longfold`. Raises `TrainingError`; the last checkpoint then stays."""

    def __init__(self, config: DictConfig) -> None:
        self.settings = check(OmegaConf.to_container(config, resolve=True))
        check_folder(Path(config.actor_rollout_ref.model.path))
        self.controller = Controller(self.settings)
        self._live = True
        # verl asks for the mode by name in many places and takes every other name than its own for an asynchronous one.
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"
        super().__init__(config)

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        labels = self.train_dataset.tasks if self.settings.balanced else ["all"] * len(self.train_dataset)
        sampler = TaskBalanced(labels, self.config.data.train_batch_size, self.settings.seed)
        self.train_dataloader = StatefulDataLoader(
            dataset=self.train_dataset, batch_sampler=BalancedBatches(sampler), num_workers=0, collate_fn=collate_fn
        )

    def _get_required_batch_multiple(self, dp_size: int) -> int:
        """Rows are padded to a multiple of the workers only: there are no mini-batches."""
        return dp_size

    def _balance_batch(self, batch: KVBatchMeta, metrics: dict[str, Any], **more: Any) -> KVBatchMeta:
        questions, group = self.config.data.train_batch_size, self.config.actor_rollout_ref.rollout.n
        metrics["longfold/lost"] = float(check_complete(batch.keys, questions, group, self.settings.lost))
        return super()._balance_batch(batch, metrics, **more)

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        data = tq.kv_batch_get(
            keys=batch.keys,
            partition_id=batch.partition_id,
            select_fields=["response_mask", "rm_scores", "entropy", "data_source", "extra_fields"],
        )
        nested = data["response_mask"]
        padded = data.select("response_mask", "rm_scores", "entropy").to_padded_tensor()
        mask = padded["response_mask"].bool()
        tokens, rewards = mask.sum(-1).tolist(), padded["rm_scores"].double().sum(-1).tolist()
        padding = [bool(tag.get("is_padding", False)) for tag in batch.tags]
        labels = [str(label) for label in data["data_source"]]
        rows = [Row(*row) for row in zip(batch.keys, labels, rewards, tokens, padding, strict=True)]
        found = objective(self.controller, rows, padded["entropy"], mask)
        self._live = found.live
        own = [
            fields["rates"]
            for fields, pad in zip(data["extra_fields"], padding, strict=True)
            if not pad and fields.get("rates")
        ]
        metrics.update({f"longfold/{name}": figure for name, figure in (means(own) | dict(found.figures)).items()})
        advantages = response_to_nested(found.advantages, nested)
        fields = TensorDict({"advantages": advantages, "returns": advantages}, batch_size=len(batch))
        return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """One update from all rows. verl counts a mini-batch in rows, of which an attempt has many here, and would take
        several updates, all but the first off-policy."""
        if not self._live:
            return batch
        batch.extra_info.update(
            {
                "calculate_entropy": False,
                "distillation_use_topk": False,
                "distillation_only": False,
                "global_batch_size": len(batch),
                "mini_batch_size": len(batch),
                "epochs": 1,
                "seed": self.config.actor_rollout_ref.actor.data_loader_seed,
                "dataloader_kwargs": {"shuffle": False},
                "temperature": self.config.actor_rollout_ref.rollout.temperature,
            }
        )
        output = rename_dict(self.actor_rollout_wg.update_actor(batch)["metrics"], "actor/")
        output["perf/mfu/actor"] = output.pop("actor/mfu")
        figures = reduce_metrics(output)
        for name in ("actor/pg_loss", "actor/grad_norm"):
            if not math.isfinite(figures[name]):
                raise DivergedError(f"{name} is {figures[name]} at step {self.global_steps}")
        metrics.update(figures)
        return batch

    def _save_checkpoint(self) -> None:
        """Our state first: what names the newest checkpoint is written last."""
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        with whole_file(folder / STATE) as part:
            part.write_text(json.dumps(self.controller.state_dict()) + "\n", encoding="utf-8")
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if not self.global_steps:
            return
        trainer = self.config.trainer
        named = trainer.resume_from_path if trainer.resume_mode == "resume_path" else None
        file = Path(named or Path(trainer.default_local_dir) / f"global_step_{self.global_steps}") / STATE
        try:
            state = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"the checkpoint has no state of the entropy controller: {error}") from error
        self.controller.load_state_dict(state)
