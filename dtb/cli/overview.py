"""What ``dtb --help`` and ``dtb --version`` print.

The sentence on each command is the first of its docstring. It is read from the source, because to import the commands takes longer than
anybody waits for help.
"""

from __future__ import annotations

import ast
import shutil
import textwrap
from pathlib import Path

_STAGES = ("cohorts", "twins", "runs")
_TOOLS = ("tools",)
_PURPOSE = (
    "dtb trains digital twin brains: from a person's resting-state functional connectome, a model of what that person chooses, when they "
    "press and what their BOLD signal does; and searches for what would change it. Research use only."
)
_USAGE = "usage: dtb STAGE ... [--config FILE.yaml] [--resume] [--dry-run] [--print-config] [--help | --help-all]"
_TRY = {
    "dtb run configs/demo.yaml": "all stages on a small ground-truth cohort; ends with a page to look at",
    "dtb init /data/study/bids": "a configuration and task files for your data, and what is missing",
    "dtb BIDS OUT participant": "as BIDS apps are called; then `dtb BIDS OUT group` (dtb app --help)",
    "dtb train --help": "what a stage reads, writes and is told most often; --help-all has every option",
    "dtb train --print-config": "every setting with its value, as a YAML file to start from",
    "source <(dtb --completion bash)": "complete stages and options with the Tab key; zsh and fish likewise",
}
_CLUSTER = "A running Ray cluster is used with --ray-address ADDRESS; without it, a private one on this machine."
_CODES = "Exit codes: 0 done, 1 failed, 2 the command or its input is wrong, 130 interrupted."


def overview() -> str:
    """Return the text of ``dtb --help``."""
    width = max(map(len, _TRY))
    parts = [
        _wrapped(_PURPOSE),
        "",
        _wrapped(_USAGE, indent=11),
        "",
        "Stages, in the order in which data pass through them:",
        *_listed(_STAGES),
        "",
        "Beside them:",
        *_listed(_TOOLS),
        "",
        "Try:",
        *(_wrapped(words, f"    {command:<{width}}  ", width + 6) for command, words in _TRY.items()),
        "",
        _wrapped(_CLUSTER),
        _wrapped(_CODES),
    ]
    return "\n".join(parts)


def _wrapped(text: str, begin: str = "", indent: int = 0) -> str:
    """Wrap a text to the terminal, with words that stand before its first line, and its later lines set in."""
    width = max(shutil.get_terminal_size().columns, 40)
    return textwrap.fill(
        text,
        width,
        initial_indent=begin,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _listed(files: tuple[str, ...]) -> list[str]:
    return [_wrapped(sentence, f"  {name:<10} ", 13) for file in files for name, sentence in summaries(file).items()]


def summaries(file: str) -> dict[str, str]:
    """Return the first sentence on each command that a file of `dtb/commands` defines, in their order.

    Examples
    --------
    >>> summaries("cohorts")["ingest"]
    'Read a BIDS tree and its derivatives into shards: one record a person, under a pseudonym.'
    """
    source = (Path(__file__).parent.parent / "commands" / f"{file}.py").read_text(encoding="utf-8")
    return {
        node.name.lower(): (ast.get_docstring(node) or "").splitlines()[0]
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }


def version_in_words() -> str:
    """Return the text of ``dtb --version``: what this is, on what it stands, and what it can compute with here."""
    import torch

    from dtb.machine.cores import usable_cores
    from dtb.twin.recurrence.compiled import LEVELS, level
    from dtb.version import __version__, versions_here

    versions = versions_here()
    commit = versions.pop("commit", "")
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    best = level()
    return "\n".join(
        [
            f"dtb {__version__}{f', commit {commit[:10]}' if commit else ''}",
            ", ".join(f"{name} {version}" for name, version in versions.items()),
            f"Recurrence: {'not compiled, runs in PyTorch (slower)' if best < 0 else f'compiled, {LEVELS[best]} instructions'}",
            f"Devices: {usable_cores()} CPU cores; {', '.join(gpus) if gpus else 'no GPU that PyTorch can use'}",
        ]
    )
