#!/usr/bin/env bash
# The paper's whole recipe on the demo policy, from nothing to a served policy, on two CPU cores:
#
#   warm start -> full-context RL 1, 2, 3 (growing length) -> memory RL -> SCE merge -> full-context RL 4 -> export,
#   with an evaluation after each stage and one report at the end.
#
#   training/runs/demo.sh                                      # into runs/demo, seed 0
#   RUN=/data/demo SEED=1 training/runs/demo.sh
#   STEPS=2 QUESTIONS=6 DOCUMENTS=8 training/runs/demo.sh      # every stage, but short: to see that it runs
#
# The warm start takes about two and a half hours; WARM=FOLDER begins with a policy folder that is there already, and FAMILIES
# names what it knows where that is less: FAMILIES='["single", "update", "choice"]' WARM=runs/demo/facts/policy.
# A run that was killed goes on where it was: give the same command again. What is finished stays, and over other weights or
# data than it was begun with a stage is refused.
set -euo pipefail

RUN=${RUN:-runs/demo}
SEED=${SEED:-0}
STEPS=${STEPS:-}
QUESTIONS=${QUESTIONS:-}
DOCUMENTS=${DOCUMENTS:-}
FAMILIES=${FAMILIES:-'["single", "update", "choice", "list", "count", "hops"]'}
THREADS=${THREADS:-2}
TRAIN=${TRAIN:-longfold-train}

# stage NAME RECIPE [KEY=VALUE ...]: one stage into $RUN/NAME; one that has finished is left as it is.
stage() {
  local name=$1 recipe=$2 settings=()
  shift 2
  for setting in "$@"; do settings+=(--set "$setting"); done
  echo "== $name"
  "$TRAIN" run "$recipe" --out "$RUN/$name" --resume --threads "$THREADS" --set "seed=$SEED" "${settings[@]}"
}

# reinforce NAME RECIPE START DATA [KEY=VALUE ...]: a stage of training, then how well its policy reads.
reinforce() {
  local name=$1 recipe=$2 start=$3 data=$4
  shift 4
  stage "$name" "$recipe" "start=$start" "data=$RUN/$data/problems.jsonl" ${STEPS:+"steps=$STEPS"} \
    ${QUESTIONS:+"questions=$QUESTIONS"} "$@"
  evaluate "$name" "$RUN/$name/policy"
}

# evaluate NAME POLICY: on documents of other names, values and sentences than those of training.
evaluate() {
  stage "evaluate/$1" demo/evaluate "start=$2" "data=$RUN/problems-test/problems.jsonl"
}

# problems NAME RECIPE [KEY=VALUE ...]: documents, with questions of every family that the policy was taught.
problems() {
  local name=$1 recipe=$2
  shift 2
  stage "$name" "$recipe" "start=$WARM" "families=$FAMILIES" ${DOCUMENTS:+"documents=$DOCUMENTS"} "$@"
}

# select_for NAME START DATA [KEY=VALUE ...]: of the data for a stage, what the policy before it answers sometimes. What it
# always answers, which on short texts is most, has no gradient.
select_for() {
  local name=$1 start=$2 data=$3
  shift 3
  stage "$name" demo/select "start=$start" "data=$RUN/$data/problems.jsonl" "$@"
}

# imitate NAME [--start POLICY]: imitation of a programmatic teacher.
imitate() {
  local name=$1
  shift
  [ -e "$RUN/$name/policy/config.json" ] || "$TRAIN" demo --out "$RUN/$name" --seed "$SEED" --threads "$THREADS" --resume "$@"
}

# 1. Warm start: single facts from random weights, then lists, counts, two hops and the single pass.
if [ -z "${WARM:-}" ]; then
  imitate facts
  imitate warm --start "$RUN/facts/policy"
  WARM=$RUN/warm/policy
fi
problems problems-test demo/problems-test
evaluate warm "$WARM"

# 2. Full-context RL on growing lengths: in a single pass where the weights say that they know it, else the whole text is one
# chunk.
reading=fold lengths="128 192 256"
if grep -qsE '"longfold_direct_tokens": *[1-9]' "$WARM/config.json"; then reading=direct lengths="128 256 512"; fi
start=$WARM
for length in $lengths; do
  number=$((${number:-0} + 1))
  whole=("reading=$reading" "limits.input_tokens=$length")
  if [ "$reading" = fold ]; then whole+=("limits.chunk_tokens=$length"); fi
  # A family a document, since the shortest hold no more, and some room: a service cuts by rules of its own.
  problems "problems-$number" demo/problems "chunks=[1, 1]" "chunk_tokens=$((length - 16))" families_at_once=1
  select_for "select-$number" "$start" "problems-$number" "${whole[@]}"
  reinforce "full-context-$number" demo/full-context "$start" "select-$number" "${whole[@]}"
  start=$RUN/full-context-$number/policy
done

# 3. Memory RL on documents of several chunks, from stage 3.
problems problems-memory demo/problems "chunks=[2, 6]" chunk_tokens=240
select_for select-memory "$start" problems-memory limits.chunk_tokens=256 limits.input_tokens=2048
reinforce memory demo/memory "$start" select-memory

# 4. SCE merge of the memory expert and stage 3; their common ancestor is the warm start.
stage merge demo/merge "base=$WARM" "sources=[\"$start\", \"$RUN/memory/policy\"]"
evaluate merge "$RUN/merge/policy"

# 5. Full-context RL once more, from the merge.
select_for select-4 "$RUN/merge/policy" problems-3 "${whole[@]}"
reinforce full-context-4 demo/full-context "$RUN/merge/policy" select-4 "${whole[@]}"

# 6. The policy as it is served, and the report.
stage export demo/export "start=$RUN/full-context-4/policy"
evaluate export "$RUN/export/policy"   # what is served is measured as well
"$TRAIN" report "$RUN" --out "$RUN/report.html"
echo "policy: $RUN/export/policy    report: $RUN/report.html"
