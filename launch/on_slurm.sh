#!/usr/bin/env bash
# Runs a configuration on Slurm: a Ray cluster on the nodes of one allocation, which goes on where it stopped when Slurm requeues it.
#   cp launch/on_slurm.sh mine.sh; edit the settings; bash mine.sh [--dry-run]           --dry-run prints the batch script
# Needs: sbatch, and a file system that all nodes see, with an environment in which dtb is installed.
set -euo pipefail

config=configs/demo.yaml          # what to run
out=/scratch/$USER/demo           # run folder
environment=/scratch/$USER/venv   # the virtual environment, on the shared file system
partition=                        # the cluster's default where it is empty
workers=2
node_cpus=8
node_gpus=0                       # above 0, training uses GPUs
node_memory_gib=32
hours=24

options=(--launch.environment "$environment" --train.num-workers "$workers" --launch.max-hours "$hours"
    --launch.node-cpus "$node_cpus" --launch.node-gpus "$node_gpus" --launch.node-memory-gib "$node_memory_gib")
if [ -n "$partition" ]; then options+=(--launch.partition "$partition"); fi
if [ "$node_gpus" -gt 0 ]; then options+=(--train.use-gpu --fleet.gpus-per-actor 1); fi

script=$(dtb submit "$config" "$out" --render slurm "${options[@]}")
if [ "${1:-}" = --dry-run ]; then
    printf '%s\n' "$script"
else
    printf '%s\n' "$script" | sbatch
fi
