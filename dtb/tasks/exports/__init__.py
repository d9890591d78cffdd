"""Files of presentation programs (PsychoPy, E-Prime, jsPsych) as tables of events: one row a trial, with onset and duration."""

from dtb.lazy import public_names

__all__ = ["Exported", "read_events"]

_FILES = {"Exported": ".export", "read_events": ".table"}
__getattr__, __dir__ = public_names(__name__, _FILES)
