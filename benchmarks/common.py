"""What all benchmarks share: measuring a command, naming the machine, writing a table of results.

A command is measured from outside: it runs in a session of its own, and the resident memory of
every process of that session is added up 20 times a second, and so is the CPU time (what a process
uses after the last look is missed). Pages that processes share are counted
once for each of them, so the peak is an upper bound; `peak_pss` shares them out and is exact, but
sampled less often because the kernel takes longer to compute it.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
STARTED = time.time()
FINDINGS, END = "## Findings", "<!-- end of findings -->"
MB = 1_000_000
TIME_LIMIT = 7_200.0
POLL_SECONDS = 0.05
PSS_EVERY = 10


@dataclass(frozen=True)
class Measurement:
    """One run of a command: seconds, bytes, exit code, what it printed (the last 20,000 bytes).

    `cpu_seconds` is of all processes; on an idle machine it is at most `seconds` times the cores.
    """

    seconds: float
    cpu_seconds: float
    peak_rss: int
    peak_pss: int
    processes: int
    exit_code: int | None
    output: str

    @property
    def failed(self) -> bool:
        """Whether the command ended badly or was stopped after its time limit."""
        return self.exit_code != 0


def measure(
    command: Sequence[str | Path],
    *,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Measurement:
    """Run a command to its end and measure it with all its processes.

    After `timeout` seconds the whole session is killed and `exit_code` is None.
    """
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            cwd=cwd,
            start_new_session=True,
        )
        peak_rss = peak_pss = most = polls = 0
        cpu: dict[int, float] = {}
        timed_out = False
        ended, end = threading.Event(), [start]

        def wait() -> None:
            process.wait()
            end[0] = time.perf_counter()
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        while not ended.wait(POLL_SECONDS):
            members = session_processes(process.pid)
            cpu |= members
            peak_rss = max(peak_rss, sum(resident(pid) for pid in members))
            if polls % PSS_EVERY == 0:
                peak_pss = max(peak_pss, sum(proportional(pid) for pid in members))
            most = max(most, len(members))
            polls += 1
            if timeout is not None and time.perf_counter() - start > timeout:
                timed_out = True
                os.killpg(process.pid, signal.SIGKILL)
                ended.wait()
        for pid in session_processes(process.pid):
            os.kill(pid, signal.SIGKILL)
        log.seek(max(0, log.seek(0, os.SEEK_END) - 20_000))
        output = log.read().decode("utf-8", "replace")
    return Measurement(
        seconds=end[0] - start,
        cpu_seconds=sum(cpu.values()),
        peak_rss=peak_rss,
        peak_pss=peak_pss,
        processes=most,
        exit_code=None if timed_out else process.returncode,
        output=output,
    )


def measure_repeatedly(
    command: Sequence[str | Path],
    folder: Path,
    *,
    repeats: int,
    warm: bool = True,
    environment: Mapping[str, str] | None = None,
) -> list[Measurement]:
    """Run a command several times, each with `folder` emptied; one more before if `warm`.

    Raises SystemExit with the command's output if it fails.
    """
    measured = []
    for number in range(repeats + warm):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        one = measure(command, timeout=TIME_LIMIT, environment=environment)
        if one.failed:
            raise SystemExit(f"{one.output}\nexit code {one.exit_code}: {command}")
        if number >= warm:
            measured.append(one)
    return measured


def program() -> Path:
    """The command `dataworth` beside this Python."""
    path = Path(sys.executable).parent / "dataworth"
    if not path.exists():
        raise SystemExit(f"{path} is missing: install dataworth beside this Python")
    return path


def select_command(
    pool: Path,
    target: Path,
    out: Path,
    *,
    workers: int,
    step: str = "dsir",
    budget: str = "10%",
    extra: Sequence[str] = ("--quiet",),
) -> list[str | Path]:
    """A whole run: `dataworth select`."""
    command: list[str | Path] = [program(), "select", pool, "--target", f"target={target}"]
    command += ["--step", step, "--budget", budget, "--workers", str(workers)]
    return [*command, "--out", out, "--overwrite", *extra]


def session_processes(session: int) -> dict[int, float]:
    """The processes of a session and their CPU seconds, also those whose parent has ended."""
    found = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - twenty times a second: no Path objects
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            fields = stat.rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                ticks = int(fields[11]) + int(fields[12])
                found[int(entry)] = ticks / os.sysconf("SC_CLK_TCK")
    return found


def resident(pid: int) -> int:
    """Resident memory of a process in bytes; 0 if it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def proportional(pid: int) -> int:
    """Resident memory of a process in bytes with shared pages shared out; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024


def commit() -> str:
    """The commit that is measured, with "+" if the work tree differs from it."""
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def run(*words: str) -> str:
        done = subprocess.run([git, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    head = run("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    changed = run("status", "--porcelain", "--", "src", "benchmarks/*.py", "pyproject.toml")
    sources = (ROOT / "src").rglob("*.py")
    late = any(path.stat().st_mtime > STARTED for path in sources)
    return head + ("+" if changed else "") + (" (sources changed while this ran)" if late else "")


def machine() -> str:
    """Processor, cores, memory, system and the versions that matter for speed, on one line."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in info.splitlines() if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("numpy", "numba", "pyarrow", "orjson")
    )
    return (
        f"{models[0] if models else platform.machine()}, {cores()} cores, {memory:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}, {packages}"
    )


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers are aligned to the right."""
    right = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    lines = [header, ["---:" if flag else "---" for flag in right]]
    lines += [[cell(value) for value in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def cell(value: object) -> str:
    """A value as text: floats with three significant digits, large numbers with commas, no NaN."""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).replace("|", "\\|")
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def write_results(
    name: str, title: str, *, settings: Mapping[str, object], body: str, folder: Path = RESULTS
) -> Path:
    """Write benchmarks/results/NAME.md: what was measured, on which commit and machine, and how.

    `settings` are the arguments that reproduce it; `body` is Markdown, mostly from `table`. A
    section `## Findings`, which a person writes, is kept where the file has one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    listed = "".join(f"- {key}: {value}\n" for key, value in settings.items())
    text = (
        f"# {title}\n\n{kept_findings(path)}{body.strip()}\n\n## Settings\n\n{listed}"
        f"- commit: {commit()}\n- date: {date.today().isoformat()}\n- machine: {machine()}\n"
    )
    path.write_text(text, encoding="utf-8")
    return path


def kept_findings(path: Path) -> str:
    """The section of findings in a file of results, up to the mark at its end; or nothing."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    start, end = text.find(FINDINGS), text.find(END)
    return text[start : end + len(END)] + "\n\n" if 0 <= start < end else ""


def scratch(name: str = "") -> Path:
    """A folder for what benchmarks make: $DATAWORTH_BENCH_DIR, or one under the temporary folder.

    Raises SystemExit if it lies inside the repository, which holds nothing that is generated.
    """
    base = Path(
        os.environ.get("DATAWORTH_BENCH_DIR") or Path(tempfile.gettempdir()) / "dataworth-bench"
    )
    folder = (base / name).resolve()
    if folder.is_relative_to(ROOT.resolve()):
        raise SystemExit(f"{folder} is inside the repository: set DATAWORTH_BENCH_DIR elsewhere")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def data_folder() -> Path:
    """The folder of real data, from DATAWORTH_TEST_DATA."""
    value = os.environ.get("DATAWORTH_TEST_DATA")
    if not value or not Path(value).is_dir():
        raise SystemExit("set DATAWORTH_TEST_DATA to the folder that holds pool/ and targets/")
    return Path(value)


def drop_page_cache(paths: Sequence[Path]) -> None:
    """Ask the kernel to forget cached pages of these files, so that reading starts at the disk."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
