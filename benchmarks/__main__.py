"""`make bench`: every benchmark, one after another, each in a process of its own."""

import subprocess
import sys

for name in ("story", "ack", "overhead", "store", "snapshot", "moods", "gan"):
    print(f"\n== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
