"""kill -9 in the middle of writes: what a caller was told is committed is there at the next start. Real processes."""

import subprocess
import sys
from pathlib import Path

from bot.store import Store

ROOT = Path(__file__).parents[1]

# Six writers at once go round and round; every line is printed after the call that it reports has returned.
WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from bot.store import Recipe, Store
from models.serving.requests import Sampling

ASKED = dict(user_id=1, guild_id=None, channel_id=2, sampling=Sampling(), application_id=3,
             interaction_token="token", locale="en-GB")
RECIPE = Recipe(model_version="tiny@1", seed=0, sampling=Sampling())

def tell(*words):
    print(*words, flush=True)

async def write(store, writer):
    for round in itertools.count():
        prompt = f"{writer}-{round} " + "p" * 2000
        job = await store.begin_story(prompt=prompt, **ASKED)
        tell("begun", job.turn.id, prompt.split()[0])
        await store.start_job(job.job.id)
        tell("started", job.turn.id, "-")
        await store.write_result(job.job.id, f"text of {writer}-{round} " + "t" * 2000, RECIPE)
        tell("written", job.turn.id, f"{writer}-{round}")
        await store.finish_job(job.job.id, [round])
        tell("finished", job.turn.id, "-")
        await store.undo(job.turn.id, 1)
        tell("undone", job.turn.id, "-")

async def main():
    async with Store.open(Path(sys.argv[1])) as store:
        tell("open", "-", "-")
        await asyncio.gather(*(write(store, writer) for writer in range(6)))

asyncio.run(main())
"""

STEPS = ("begun", "started", "written", "finished", "undone")
KILL_AFTER_LINES = (1, 2, 9, 23, 60, 131)


def killed_after(path: Path, lines: int) -> list[tuple[str, str, str]]:
    """What the writer reported up to the moment of its death, (step, turn id, mark)."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    reported = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    rest, complaints = process.communicate()
    assert complaints == ""
    whole = [line for line in "".join([*reported, rest]).splitlines(keepends=True) if line.endswith("\n")]
    assert len(whole) >= lines
    return [(step, turn_id, mark) for step, turn_id, mark in (line.split() for line in whole)]


async def test_kill_9_loses_nothing_that_was_reported(tmp_path: Path) -> None:
    path = tmp_path / "inkwell.db"
    reached: dict[str, int] = {}  # turn id -> index of the last step reported of it
    marks: dict[str, str] = {}
    for lines in KILL_AFTER_LINES:  # always the same file: a crash upon a crash
        for step, turn_id, mark in killed_after(path, lines):
            if step != "open":
                reached[turn_id] = STEPS.index(step)
                marks.setdefault(turn_id, mark)

        async with Store.open(path) as store:
            assert await store.check() == ()
            open_jobs = {job.turn.id: job for job in await store.open_jobs()}
            for turn_id, last in reached.items():
                turn = await store.turn(turn_id)
                first, *_ = await store.story_path(turn_id)
                assert first.text == f"{marks[turn_id]} " + "p" * 2_000
                if last >= STEPS.index("written"):
                    assert turn.state == "done"
                    assert turn.text == f"text of {marks[turn_id]} " + "t" * 2_000
                else:
                    assert turn_id in open_jobs
                if last >= STEPS.index("finished"):
                    assert turn_id not in open_jobs
                if last >= STEPS.index("undone"):
                    assert turn.undone
            for job in open_jobs.values():  # also those whose report died with the process are whole
                assert (job.turn.state == "open") == (job.job.state in ("queued", "running"))
                assert job.prompt_turn.text.endswith("p" * 2_000)
            counts = await store.counts()
            assert counts.turns == 2 * counts.stories == 2 * sum(counts.jobs.values())
    assert len(reached) > 20
    assert set(reached.values()) >= {STEPS.index("begun"), STEPS.index("undone")}
