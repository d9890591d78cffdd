"""Freed memory is kept for the next large tensor, instead of being asked of the operating system anew."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from dtb.machine.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def faults_of_large_tensors(number):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(number):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

# About ten are laid beside one another before a place is used again: slivers that alignment leaves keep the first from merging.
faults_of_large_tensors(40)
print(faults_of_large_tensors(10))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the option is glibc's")
def test_large_tensors_one_after_the_other_need_no_new_pages():
    def page_faults(how):
        done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert page_faults("kept") < 0.05 * page_faults("given back")
