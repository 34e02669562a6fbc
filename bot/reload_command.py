"""`inkwell reload`: has the running Inkwell take another story model, and prints how it gets on. Knows no engine."""

import asyncio
import sys
from pathlib import Path

import msgspec

from bot.control import NotRunningError, order
from bot.errand import Step

DONE, NOT_DONE = 0, 1


def reload(data_dir: Path) -> int:
    """The exit status of a command."""
    try:
        return asyncio.run(_reload(data_dir.absolute()))
    except NotRunningError as error:
        sys.stderr.write(f"{error}\n")
    except msgspec.MsgspecError:
        sys.stderr.write("What runs there is another version of Inkwell: restart it.\n")
    except KeyboardInterrupt:
        sys.stderr.write("The running Inkwell goes on with it; `inkwell status` shows the result.\n")
    return NOT_DONE


async def _reload(data_dir: Path) -> int:
    async for line in order(data_dir, "reload"):
        step = msgspec.json.decode(line, type=Step)
        (sys.stderr if step.ended is False else sys.stdout).write(f"{step.words}\n")
        sys.stdout.flush()
        if step.ended is not None:
            return DONE if step.ended else NOT_DONE
    raise NotRunningError("Inkwell ended before the new model answered; see its log.")
