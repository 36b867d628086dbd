"""`python -m dataworth`: the same as the command `dataworth`."""

from __future__ import annotations

import sys

from dataworth.cli import main

if __name__ == "__main__":
    sys.argv[0] = "dataworth"
    main()
