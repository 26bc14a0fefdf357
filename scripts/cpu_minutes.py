"""Where the CPU time of a task's steps goes: `cpu_minutes.py watch|table DIRECTORY`.

DIRECTORY is `$steps` of scripts/steps.sh. watch adds up the CPU time of containers until the caller ends.
Each minute it prints what is done and what is running. table prints the minutes and CPU minutes of each step,
and the CPU minutes of the containers, the Docker engine and the whole machine.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

POLL_SECONDS, LINE_SECONDS = 5, 60
# control groups version 1 (nanoseconds), version 2 (microseconds), version 2 made by systemd
GROUPS = (
    ("sys/fs/cgroup/cpu*/docker", "*", "cpuacct.usage"),
    ("sys/fs/cgroup/docker", "*", "cpu.stat"),
    ("sys/fs/cgroup/system.slice", "docker-*.scope", "cpu.stat"),
)
# the first that matches a container's name says whose it is
OWNERS = (
    (r"cbm-test-", "containers of pytest"),
    (r"cbm-lab-(debian|s3|stac)", "lab VMs and servers of molecule default"),
    (r"cbm-lab-", "lab VMs of other scenarios"),
    (r"cbm-cloud$", "OpenStack of the lab's cloud"),
    (r"cbm-cloud-", "servers of the lab's cloud"),
    (r"", "image builds and other containers"),
)


def container_seconds(root: Path = Path("/")) -> dict[str, float]:
    """CPU seconds of each container that is there now, by its id."""
    found = {}
    for parent, group, file in GROUPS:
        for path in root.glob(f"{parent}/{group}/{file}"):
            try:
                text = path.read_text()
            except OSError:  # it has just ended
                continue
            usage = re.search(r"usage_usec (\d+)", text)
            seconds = int(usage[1]) / 1e6 if usage else int(text) / 1e9
            if identity := re.search(r"[0-9a-f]{64}", path.parent.name):
                found[identity[0]] = seconds
    return found


def owner(name: str) -> str:
    """Whose container it is, by its name."""
    return next(whose for pattern, whose in OWNERS if re.match(pattern, name))


def name_of(identity: str) -> str:
    """The container's name; empty when it is gone already."""
    command = ["docker", "inspect", "--format", "{{.Name}}", identity]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().lstrip("/")


def machine_seconds() -> float:
    """CPU seconds that all of the machine has worked since it was switched on."""
    user, nice, system, _idle, _wait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def engine_seconds() -> float:
    """CPU seconds of the Docker engine's own processes."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, command, rest = re.split(r"[()]", path.read_text(), maxsplit=2)
        except (OSError, ValueError):
            continue
        if command in {"dockerd", "containerd"}:
            total += sum(map(int, rest.split()[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


def watch(directory: Path) -> None:
    """Keep containers.json up to date, which the table reads."""
    parent, line_at = os.getppid(), time.monotonic() + LINE_SECONDS
    before = container_seconds()
    machine, engine = machine_seconds(), engine_seconds()
    names: dict[str, str] = {}
    spent: Counter[str] = Counter()
    while os.getppid() == parent and directory.is_dir():
        now = container_seconds()
        for identity, seconds in now.items():
            if identity not in names:
                names[identity] = name_of(identity)
            spent[owner(names[identity])] += max(0.0, seconds - before.get(identity, 0.0))
        before = now
        numbers = {
            **spent,
            "Docker engine": engine_seconds() - engine,
            "the whole machine": machine_seconds() - machine,
        }
        partial = directory / "containers.partial"
        partial.write_text(json.dumps(numbers))
        partial.replace(directory / "containers.json")
        if time.monotonic() > line_at:
            line_at += LINE_SECONDS
            print(progress(directory), flush=True)
        time.sleep(POLL_SECONDS)


def progress(directory: Path) -> str:
    """`--- 12 min: 9 of 15 steps done; running: pytest, molecule default`."""
    minutes = (time.time() - int((directory / "started").read_text())) / 60
    done = len((directory / "done").read_text().splitlines())
    running = [path.read_text().strip() for path in sorted(directory.glob("running.*"))]
    total = (directory / "total").read_text()
    return f"--- {minutes:.0f} min: {done} of {total} steps done; running: {', '.join(running) or 'nothing'}"


def table(directory: Path) -> str:
    """A line for each step, and for all CPU time that is not of the steps' own processes."""
    lines = [("step", "minutes", "CPU minutes")]
    for line in (directory / "done").read_text().splitlines():
        title, wall, cpu = line.split("\t")
        lines.append((title, f"{int(wall) / 60:.1f}", f"{int(cpu) / 60:.1f}"))
    path = directory / "containers.json"
    numbers = json.loads(path.read_text()) if path.exists() else {}
    lines += [(name, "", f"{seconds / 60:.1f}") for name, seconds in numbers.items()]
    width = max(len(name) for name, *_ in lines)
    return "\n".join(f"{name:{width}}  {wall:>7}  {cpu:>11}" for name, wall, cpu in lines)


def main() -> None:
    """Do what the first argument says."""
    task, directory = sys.argv[1], Path(sys.argv[2])
    if task == "watch":
        watch(directory)
    else:
        print(table(directory))


if __name__ == "__main__":
    main()
