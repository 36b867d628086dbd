"""Build the wheel, install it alone into a new environment, and run the docs' first page there.

Nothing of the clone is on the path of what runs: a file that the wheel lacks, or an import that
only an extra brings, fails here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("docs/index.md", "docs/troubleshooting.md")


def main() -> None:
    """Build, install and run; stop at the first command that fails."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", home / "wheel", ROOT], ROOT)
        (wheel,) = (home / "wheel").iterdir()
        venv.create(home / "env", with_pip=True)
        python = home / "env" / "bin" / "python"
        install = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        run([*install, wheel, "-c", ROOT / "constraints.txt"], home)
        for file in ("tests/docs/examples.py", *PAGES):
            (home / "away" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, home / "away" / file)
        shown = [home / "away" / page for page in PAGES]
        run([python, home / "away/tests/docs/examples.py", *shown], home)
        run([home / "env/bin/dataworth", "--version"], home)
        print(f"{wheel.name}: installed alone, and the examples of {', '.join(PAGES)} ran")


def run(words: list[object], folder: Path) -> None:
    """Run a command with no Python path of the caller's."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(word) for word in words], cwd=folder, env=env, check=True)


if __name__ == "__main__":
    main()
