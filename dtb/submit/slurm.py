"""The run as a Slurm batch script: `ray symmetric-run` starts Ray on every node of the allocation and the run on the first."""

from __future__ import annotations

import dataclasses
import math
import shlex

from dtb.config import Config
from dtb.submit.bundle import Work, pack
from dtb.submit.nodes import count_nodes
from dtb.submit.rayjob import job_name

_PORT = 6379
_WAIT_SECONDS = 600
_ENDING_SECONDS = 60
"""For the end of a run beside the grace to save in; Slurm may send the signal so much earlier."""


def render_slurm(config: Config, out: str, work: Work | None = None) -> str:
    """Return a batch script for ``sbatch``.

    Parameters
    ----------
    config : Config
        `launch` describes the nodes, `train` and `fleet` say how many.
    out : str
        Run folder, on a file system that all nodes see.
    work : Work, optional
        What the job does; `dtb run` if not given.

    Returns
    -------
    str
        The script, with the configuration and the files that it names in it.

    Raises
    ------
    ConfigurationError
        A path is not the cluster's, or a worker fits on no node.
    """
    launch, nodes = config.launch, count_nodes(config)
    num_nodes = max(nodes.train, nodes.fleet)  # an allocation does not grow, and one stage runs at a time
    # `ray symmetric-run` makes all nodes alike, so that none would be in a pool.
    everywhere = dataclasses.replace(config, cluster=dataclasses.replace(config.cluster, pools=False))
    bundle = pack(everywhere, out, resume=True, work=work)
    place = shlex.quote(bundle.place)
    run = (
        f'{shlex.join(bundle.command)} & pid=$!; echo "$pid" >"$DTB_PID"; wait "$pid"; code=$?; echo "$code" >"$DTB_EXIT_CODE"; '
        'exit "$code"'
    )
    lines = [
        "#!/usr/bin/env bash",
        f"#SBATCH --job-name={job_name(config.name)}",
        f"#SBATCH --nodes={num_nodes}",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --exclusive",
        f"#SBATCH --cpus-per-task={launch.node_cpus}",
        *([f"#SBATCH --gpus-per-node={launch.node_gpus}"] if launch.node_gpus else []),
        f"#SBATCH --mem={launch.node_memory_gib}G",
        f"#SBATCH --time={math.ceil(launch.max_hours * 60)}",
        *([f"#SBATCH --partition={launch.partition}"] if launch.partition else []),
        # To this script alone: Ray's processes, if they get one, end at once and take the work with them.
        f"#SBATCH --signal=B:TERM@{math.ceil(config.cluster.grace_seconds) + _ENDING_SECONDS}",
        "#SBATCH --requeue",
        "#SBATCH --output=%x-%j.log",
        "set -euo pipefail",
        *(f': "${{{name}:?is not set; sbatch passes on what is set where it is called}}"' for name in launch.secrets),
        *([f". {shlex.quote(f'{launch.environment}/bin/activate')}"] if launch.environment else []),
        "",
        "# What the job reads: kept beside the run.",
        f"mkdir -p {place}",
        *(_write_file(f"{place}/{shlex.quote(name)}", text) for name, text in bundle.texts.items()),
        "",
        "# A token of this job's own: whoever reaches Ray's ports without it is turned away.",
        f"RAY_AUTH_TOKEN_PATH=$(umask 077 && mktemp {place}/token.XXXXXX)",
        'trap \'rm -f "$RAY_AUTH_TOKEN_PATH" "$DTB_PID"\' EXIT',
        'python -c \'import secrets; print(secrets.token_hex(32), end="")\' >"$RAY_AUTH_TOKEN_PATH"',
        "export RAY_AUTH_TOKEN_PATH RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0",
        f"export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT={_WAIT_SECONDS}",
        "",
        "# `ray symmetric-run` ends with 0 where Ray does not start: the run says itself how it ended.",
        f"export DTB_EXIT_CODE={place}/exit-code.$SLURM_JOB_ID",
        f"export DTB_PID={place}/pid.$SLURM_JOB_ID",
        'rm -f "$DTB_EXIT_CODE" "$DTB_PID"',
        "",
        "# Slurm says so when the time is nearly over, or the job is preempted: the run saves and ends, and a requeued job goes on.",
        """trap '[ ! -s "$DTB_PID" ] || kill -TERM "$(cat "$DTB_PID")" || true' TERM""",
        "",
        "# The script runs on the first node of the allocation, and so does the run.",
        "head=$(hostname -I | awk '{print $1}')",
        # srun does not inherit the number of cores.
        f"srun --nodes={num_nodes} --ntasks={num_nodes} --ntasks-per-node=1 --cpus-per-task={launch.node_cpus} \\",
        f'    ray symmetric-run --address "$head:{_PORT}" --min-nodes {num_nodes} \\',
        f"    --num-cpus {launch.node_cpus} --num-gpus {launch.node_gpus} --disable-usage-stats -- \\",
        f"    bash -c {shlex.quote(run)} &",
        "srun=$!",
        'while kill -0 "$srun" 2>/dev/null; do wait "$srun" || true; done  # a signal ends a wait, too',
        'if [ ! -s "$DTB_EXIT_CODE" ]; then',
        '    echo "The run never began: Ray did not start on all nodes, see above." >&2',
        "    exit 1",
        "fi",
        'code=$(cat "$DTB_EXIT_CODE")',
        'rm -f "$DTB_EXIT_CODE"',
        'exit "$code"',
    ]
    return "\n".join(lines) + "\n"


def _write_file(path: str, text: str) -> str:
    """Return the lines that write a text into a quoted path, up to a word that is no line of the text."""
    end = "END_OF_FILE"
    while end in text.splitlines():
        end += "_"
    return f"cat >{path} <<'{end}'\n{text.rstrip()}\n{end}"
