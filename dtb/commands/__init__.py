"""The stages and tools as the command line has them: one dataclass each, of the places, options and sections it reads.

Places first, then a stage's own section of the configuration with plain option names, then the other sections it reads, dotted. tyro makes
the options and the help from the dataclasses and from the text under their fields.
"""

from dtb.commands.cohorts import Ingest, Synth
from dtb.commands.runs import App, Plan, Pool, Report, Run
from dtb.commands.stage import Stage
from dtb.commands.tools import Doctor, Init, Shards, Submit, Sweep, Task, View, Watch
from dtb.commands.twins import Evaluate, Intervene, Simulate, Train, Trial, Update

__all__ = ["Stage"]

STAGES: dict[str, type[Stage]] = {
    kind.__name__.lower(): kind
    for kind in (Synth, Ingest, Train, Evaluate, Update, Simulate, Intervene, Trial, Report, Run, App, Pool, Plan)
}
TOOLS: dict[str, type[Stage]] = {
    kind.__name__.lower(): kind for kind in (Init, Submit, Task, Shards, View, Watch, Sweep, Doctor)
}
COMMANDS: dict[str, type[Stage]] = {**STAGES, **TOOLS}
