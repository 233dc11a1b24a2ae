#!/usr/bin/env bash
# One stage of the recipe on one node, on all of its GPUs:
#
#   training/runs/verl-node.sh full-context-1
#   training/runs/verl-node.sh memory actor_rollout_ref.model.path=models/mine 'longfold.judge={url: http://judge:8000/v1}'
#
# Any key of verl or of the `longfold` table may follow. A run that was killed goes on from its last checkpoint: give the
# same command again. docs/training-verl.md says which stage fits on how many GPUs.
set -euo pipefail

PYTHON=${PYTHON:-python}
GPUS=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
STAGE=${1:?usage: verl-node.sh STAGE [KEY=VALUE ...]}
shift

RUN=${RUN:-runs/verl/$STAGE}
mkdir -p "$RUN"
export TENSORBOARD_DIR=${TENSORBOARD_DIR:-$RUN/tensorboard}
# verl writes the file anew at each start.
export VERL_FILE_LOGGER_PATH=${VERL_FILE_LOGGER_PATH:-$RUN/metrics-$(date -u +%Y%m%dT%H%M%S).jsonl}
exec "$PYTHON" -m longfold_training.engines.verl "$STAGE" \
  trainer.nnodes=1 trainer.n_gpus_per_node="$GPUS" trainer.default_local_dir="$(realpath "$RUN")" "$@"
