#!/usr/bin/env bash
# Runs a configuration on a Ray cluster that is running already, through its job server, and stays until the run ends.
#   cp launch/on_ray_cluster.sh mine.sh; edit the settings; RAY_AUTH_TOKEN=... bash mine.sh [--dry-run]
# Needs: the address of the head's dashboard and the cluster's token. Ctrl-C leaves the job running and says how to come back.
set -euo pipefail

config=configs/demo.yaml          # what to run
out=/shared/runs/demo             # run folder, on a file system that all nodes see
address=http://head:8265          # of the job server

exec dtb submit "$config" "$out" --address "$address" "$@"
