"""Tasks as data: one YAML file per task, read into trials, stimuli and responses."""

from dtb.lazy import public_names

__all__ = [
    "EventsRead",
    "TaskSet",
    "TaskSpec",
    "Trials",
    "UnusableRow",
    "encode_segment",
    "load_task",
    "read_trials",
    "shipped_tasks",
]

_FILES = {
    "EventsRead": ".read",
    "TaskSet": ".taskset",
    "TaskSpec": ".spec",
    "Trials": ".trials",
    "UnusableRow": ".read",
    "encode_segment": ".encode",
    "load_task": ".spec",
    "read_trials": ".read",
    "shipped_tasks": ".spec",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
