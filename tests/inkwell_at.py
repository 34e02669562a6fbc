"""Inkwell's own command line, with another base URL as the Discord that a token leads to. Knows no command.

python -m tests.inkwell_at BASE_URL ARGUMENTS...
"""

import sys

from bot.__main__ import main
from bot.sandbox import point_discord_at

if __name__ == "__main__":
    base_url = sys.argv.pop(1)
    with point_discord_at(base_url):
        main()
