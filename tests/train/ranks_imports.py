"""What every rank imports: `tests.train.ranks` has it imported once, by the process from which ranks are forked."""

import importlib

from dtb.train.engine import prepare_environment

prepare_environment(use_gpu=False)
for _name in ("torch._dynamo", "deepspeed.runtime.zero.muon.muon_optimizer", "dtb.train.worker"):
    importlib.import_module(_name)
