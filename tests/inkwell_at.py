"""Inkwell's own command line, with another base URL as the Discord that a token leads to, or with a model made by code.
Knows no command.

python -m tests.inkwell_at BASE_URL FACTORY ARGUMENTS...    (BASE_URL or FACTORY may be "": as always)
"""

import contextlib
import functools
import sys

import bot.engines
from bot.__main__ import main
from bot.sandbox import point_discord_at
from models.serving.local_engine import supervised_workers

if __name__ == "__main__":
    base_url, factory = sys.argv.pop(1), sys.argv.pop(1)
    if factory:
        bot.engines.supervised_workers = functools.partial(supervised_workers, factory=factory)
    with point_discord_at(base_url) if base_url else contextlib.nullcontext():
        main()
