"""How long a story waits for the disk: `begin_story` through the whole store, against the bare driver without
encryption in the same run. Knows no model and no Discord.

    python -m benchmarks.store [--stories 1000]
"""

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from bot.store import Recipe, Store
from models.serving.requests import Sampling

PROMPT = "The lighthouse keeper found a letter under the door. " * 8
TEXT = " It was written in a hand that he had not seen for thirty years." * 8
ASKED: dict[str, Any] = {
    "user_id": 1,
    "guild_id": 2,
    "channel_id": 3,
    "sampling": Sampling(),
    "application_id": 4,
    "interaction_token": "token",
    "locale": "en-GB",
}
AT_ONCE = 60  # commands that arrive together, as in the acknowledgement benchmark


def percentile(seconds: list[float], percent: int) -> float:
    """In milliseconds."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1_000


def line(name: str, seconds: list[float]) -> None:
    print(f"{name:<46} p50 {percentile(seconds, 50):7.2f} ms   p99 {percentile(seconds, 99):7.2f} ms")


def bare_driver(path: Path, stories: int) -> list[float]:
    """The least that could be done: four inserts and a commit with one fsync, plain sqlite3, no thread between."""
    seconds = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
            "CREATE TABLE stories (id TEXT PRIMARY KEY, head TEXT, at REAL);"
            "CREATE TABLE turns (id TEXT PRIMARY KEY, story TEXT REFERENCES stories, parent TEXT, text TEXT, at REAL);"
            "CREATE TABLE jobs (id TEXT PRIMARY KEY, turn TEXT UNIQUE REFERENCES turns, sampling TEXT, at REAL);"
        )
        for number in range(stories):
            begun, now = time.perf_counter(), time.time()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO stories VALUES (?, ?, ?)", (f"s{number}", f"p{number}", now))
            for turn, parent, text in ((f"p{number}", None, PROMPT), (f"c{number}", f"p{number}", "")):
                connection.execute("INSERT INTO turns VALUES (?, ?, ?, ?, ?)", (turn, f"s{number}", parent, text, now))
            connection.execute("INSERT INTO jobs VALUES (?, ?, ?, ?)", (f"j{number}", f"c{number}", "{}", now))
            connection.execute("COMMIT")
            seconds.append(time.perf_counter() - begun)
    return seconds


async def through_the_store(path: Path, stories: int) -> dict[str, list[float]]:
    begin, end, read, burst = [], [], [], []
    recipe = Recipe(model_version="bench@0", seed=0, sampling=Sampling())
    opened = time.perf_counter()
    async with Store.open(path) as store:
        first_start_ms = (time.perf_counter() - opened) * 1_000
        for number in range(stories):
            started = time.perf_counter()
            job = await store.begin_story(prompt=PROMPT, **ASKED)
            begin.append(time.perf_counter() - started)

            started = time.perf_counter()
            await store.write_result(job.job.id, TEXT, recipe)
            await store.finish_job(job.job.id, [number])
            end.append(time.perf_counter() - started)

            started = time.perf_counter()
            await store.story_path(job.turn.id)
            read.append(time.perf_counter() - started)

        async def timed() -> None:
            started = time.perf_counter()
            await store.begin_story(prompt=PROMPT, **ASKED)
            burst.append(time.perf_counter() - started)

        started = time.perf_counter()
        await asyncio.gather(*(timed() for _ in range(AT_ONCE)))
        print(f"{AT_ONCE / (time.perf_counter() - started):.0f} stories begun a second, {AT_ONCE} asked for at once")
        threads = threading.active_count()
        file_bytes = (await store.counts()).file_bytes
    opened = time.perf_counter()
    async with Store.open(path):
        later_start_ms = (time.perf_counter() - opened) * 1_000
    print(f"first start {first_start_ms:.0f} ms, later starts {later_start_ms:.0f} ms, {threads} threads")
    print(f"{file_bytes / (stories + AT_ONCE) / 1_024:.1f} KiB on disk a story, its write-ahead log included")
    return {
        "begin_story": begin,
        "write_result + finish_job": end,
        "story_path": read,
        f"begin_story, {AT_ONCE} at once (wait included)": burst,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stories", type=int, default=1_000)
    stories = parser.parse_args().stories
    with tempfile.TemporaryDirectory(prefix="inkwell-bench-") as directory:
        baseline = bare_driver(Path(directory) / "plain.db", stories)
        measured = asyncio.run(through_the_store(Path(directory) / "inkwell.db", stories))
    line("bare sqlite3, plain text, same fsync", baseline)
    for name, seconds in measured.items():
        line(name, seconds)
    ratio = percentile(measured["begin_story"], 50) / percentile(baseline, 50)
    print(f"begin_story takes {ratio:.1f} times the bare driver's time (p50), encrypted and off the event loop")


if __name__ == "__main__":
    main()
