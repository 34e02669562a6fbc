"""What the numbers were measured on."""

import os
import platform
from pathlib import Path

import psutil


def describe_machine() -> str:
    """One line: processor, cores that may be used, memory, Python."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    return f"Machine: {name}, {cores} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"
