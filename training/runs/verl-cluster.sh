#!/usr/bin/env bash
# One stage of the recipe on a Ray cluster that is up, from any machine that reaches its dashboard:
#
#   ray start --head --dashboard-host 0.0.0.0        # on the first node
#   ray start --address HEAD:6379                    # on every other node
#   RAY_API_SERVER_ADDRESS=http://HEAD:8265 NODES=4 RUN=/shared/runs/full-context-3 training/runs/verl-cluster.sh full-context-3
#
# The environment of every node has this package and verl; models, data and RUN lie on a file system that all nodes see
# under the same path. On Kubernetes deploy/kuberay does all of this. A run that was killed goes on from its last checkpoint.
set -euo pipefail

: "${RAY_API_SERVER_ADDRESS:?the cluster's dashboard, http://HEAD:8265}"
: "${RUN:?the run's folder, an absolute path on the shared file system}"
NODES=${NODES:?how many nodes the stage takes}
GPUS=${GPUS:-8}
STAGE=${1:?usage: verl-cluster.sh STAGE [KEY=VALUE ...]}
shift

# What the trainer's process finds in its environment; that of this shell does not reach it.
WITH=+ray_kwargs.ray_init.runtime_env.env_vars
exec ray job submit -- python -m longfold_training.engines.verl "$STAGE" \
  trainer.nnodes="$NODES" trainer.n_gpus_per_node="$GPUS" trainer.default_local_dir="$RUN" \
  "$WITH.TENSORBOARD_DIR=$RUN/tensorboard" \
  "$WITH.VERL_FILE_LOGGER_PATH=$RUN/metrics-$(date -u +%Y%m%dT%H%M%S).jsonl" "$@"
