#!/usr/bin/env bash
# Runs a configuration on Kubernetes: KubeRay makes a Ray cluster for it, and removes it afterwards.
#   cp launch/on_kubernetes.sh mine.sh; edit the settings; bash mine.sh [--dry-run]      --dry-run prints what would be applied
# Needs: kubectl with a context that may make RayJobs, the KubeRay operator 1.5.1 or later, and a PersistentVolumeClaim that all pods see.
set -euo pipefail

config=configs/demo.yaml          # what to run
out=/shared/runs/demo             # run folder, on the claim
image=dtb:0.1.0                   # made by docker/Dockerfile
claim=dtb                         # the PersistentVolumeClaim, mounted at the folder below
mounted_at=/shared
workers=2                         # training goes on with fewer when nodes are lost, down to the number below
fewest_workers=1
node_cpus=8
node_gpus=0                       # above 0, training uses GPUs
node_memory_gib=32
secrets=()                        # names of variables in the Secret `dtb`, for example WANDB_API_KEY

options=(--launch.image "$image" --launch.volume-claim "$claim" --launch.volume-path "$mounted_at"
    --train.num-workers "$workers" --train.min-workers "$fewest_workers"
    --launch.node-cpus "$node_cpus" --launch.node-gpus "$node_gpus" --launch.node-memory-gib "$node_memory_gib")
if [ "$node_gpus" -gt 0 ]; then options+=(--train.use-gpu --fleet.gpus-per-actor 1); fi
if [ "${#secrets[@]}" -gt 0 ]; then options+=(--launch.secrets "${secrets[@]}"); fi

manifest=$(dtb submit "$config" "$out" --render rayjob "${options[@]}")
if [ "${1:-}" = --dry-run ]; then
    printf '%s\n' "$manifest"
else
    printf '%s\n' "$manifest" | kubectl apply -f -
    echo "Follow it with: kubectl get rayjobs --watch" >&2
fi
