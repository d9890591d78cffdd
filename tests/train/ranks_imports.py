"""What every rank imports: `tests.train.ranks` has it imported once, by the process from which ranks are forked."""

import importlib

from dtb.train.engine import prepare_environment

prepare_environment(use_gpu=False)
importlib.import_module("dtb.train.worker")
