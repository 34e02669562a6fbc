"""What this machine computes with: cores and memory that this process may really use, and GPUs. Knows no model and no
setting.
"""

import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
_lifting = threading.Lock()
_NVIDIA_SMI_S = 20.0  # a driver that is being loaded takes seconds


def physical_cores(cgroup: Path = _CGROUP) -> int:
    """Cores that this process may use, without counting hyper-threads twice (they share the arithmetic units) and
    within a container's CPU quota: threads beyond it are all stopped for the rest of each period."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    cores = min(allowed, psutil.cpu_count(logical=False) or allowed)
    quota = cpu_quota(cgroup)
    return max(1, cores if quota is None else min(cores, round(quota)))


def cpu_quota(cgroup: Path = _CGROUP) -> float | None:
    """CPUs' worth of time that the control group at `cgroup` grants (version 2, else 1); None where none is set."""
    try:
        granted, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            granted = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        share = int(granted) / int(period)
    except (ValueError, ZeroDivisionError):  # "max": no quota
        return None
    return share if share > 0 else None  # version 1 says -1 for none


def memory_bytes(cgroup: Path = _CGROUP) -> int:
    """Main memory that this process may use: the machine's, within its control group's bound (version 2, else 1)."""
    installed = int(psutil.virtual_memory().total)
    for bound in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        try:
            return min(installed, int(bound.read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return installed


def largest_gpu_bytes(environment: Mapping[str, str]) -> int:
    """Memory of the largest NVIDIA GPU; 0 where `gpu_count` finds none. CUDA_VISIBLE_DEVICES can hide all of them here,
    not single ones."""
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None or not gpu_count(environment):
        return 0
    try:
        answer = subprocess.run(  # noqa: S603
            [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_NVIDIA_SMI_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return max((int(line) << 20 for line in answer.stdout.split() if line.isdigit()), default=0)


def gpu_count(environment: Mapping[str, str]) -> int:
    """NVIDIA GPUs that a process with `environment` sees; 0 without a working driver. Loads no library; takes as long
    as nvidia-smi does."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",") if name.strip()]
        if not names or names[0].startswith("-"):
            return 0  # CUDA takes what stands before the first invalid index
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        return 0
    try:
        answer = subprocess.run(  # noqa: S603
            [program, "-L"], capture_output=True, text=True, timeout=_NVIDIA_SMI_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    there = sum(line.startswith("GPU ") for line in answer.stdout.splitlines()) if answer.returncode == 0 else 0
    return there if chosen is None else min(there, len(names))


@contextmanager
def unbounded_memory() -> Iterator[None]:
    """For the import of a library that can't bear a bound: where OpenBLAS doesn't get its buffers it tries for ever,
    and holds the interpreter's lock meanwhile. What was taken counts afterwards."""
    with _lifting:  # else one of two at once would take the lifted bound for the bound
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
