"""Kills at random moments, and a look at what they left."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .scene import Command

VICTIMS = ("group", "command", "worker")
"""Who is killed: all processes of a run, its first one alone, or one of its workers."""
LIMIT_SECONDS = 300
LAST_PART = 0.8
"""One moment in three lies behind this part of a run, where its files are written."""


@dataclass(frozen=True)
class Result:
    """What a run that came through printed and wrote."""

    code: int
    out: bytes
    err: bytes
    files: dict[str, bytes]


@dataclass
class Tally:
    """What became of the kills.

    Attributes:
        kills: Processes that were killed while they lived.
        late: Runs that had ended before their moment came, and gave what others give.
        left: What the result files were after a kill: absent, old or new.
        resumed: Runs after a kill that gave what an uninterrupted one gives.
        broken: Promises that were not kept, each with its command and moment.
    """

    kills: int = 0
    late: int = 0
    left: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    broken: list[str] = field(default_factory=list)


def whole_run(command: Command, scene: Path, place: Path) -> tuple[Result, float]:
    """Run a command to its end, and say how long that took."""
    place.mkdir(exist_ok=True)
    start = time.monotonic()
    running = command.start(scene, place)
    out, err = running.communicate(timeout=LIMIT_SECONDS)
    return _result(command, running, place, out, err), time.monotonic() - start


def _result(
    command: Command,
    running: subprocess.Popen[bytes],
    place: Path,
    out: bytes,
    err: bytes,
) -> Result:
    files = {
        name: (place / name).read_bytes()
        for _, name in command.outputs
        if (place / name).exists()
    }
    return Result(running.returncode, out, err, files)


def children(process: int) -> list[int]:
    done = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(text) for text in done.stdout.split()]


def kill(running: subprocess.Popen[bytes], victim: str, moment: float) -> bool:
    """Kill the victim once the moment has come; False if the run ended before."""
    try:
        running.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        pass
    else:
        return False
    if victim == "group":
        os.killpg(running.pid, signal.SIGKILL)
    elif victim == "command":
        running.kill()
    else:
        workers = children(running.pid)
        if not workers:
            return False
        try:
            os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311
        except ProcessLookupError:
            return False
    return True


def damage_of(cache: Path) -> str:
    """What SQLite finds wrong with a database; nothing if it is whole or not there."""
    if not cache.exists() or not cache.stat().st_size:
        return ""
    database = sqlite3.connect(cache, timeout=60)
    try:
        (found,) = database.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        database.close()
    return "" if found == "ok" else str(found)


def kill_often(
    command: Command, scene: Path, place: Path, kills: int, seed: int
) -> Tally:
    """Kill runs of a command, and finish each, until so many died.

    Args:
        command: The command.
        scene: The folder of its inputs.
        place: An empty folder for what it writes.
        kills: Processes to kill.
        seed: Where the random moments start.
    """
    moments = random.Random(seed)  # noqa: S311
    tally = Tally()
    place.mkdir(exist_ok=True)
    truth, _ = whole_run(command, scene, place / "truth")
    if truth.code:
        raise RuntimeError(truth.err.decode())
    # The first run reads libraries from the disk, and takes longer than others.
    _, seconds = whole_run(command, scene, place / "warm")
    victims = VICTIMS if "2" in command.arguments else VICTIMS[:2]
    for number in range(20 * kills):
        if tally.kills >= kills:
            return tally
        here = place / str(number)
        here.mkdir()
        old = b"an older result" if number % 2 else None
        for _, name in command.outputs if old else ():
            (here / name).write_bytes(old or b"")
        victim = victims[number % len(victims)]
        start = LAST_PART if moments.random() < 1 / 3 else 0
        moment = moments.uniform(start, 1) * seconds
        where = f"{' '.join(command.arguments)}, {victim} at {moment:.3f} s"
        running = command.start(scene, here)
        died = kill(running, victim, moment)
        out, err = running.communicate(timeout=LIMIT_SECONDS)
        tally.kills, tally.late = tally.kills + died, tally.late + (not died)
        left = _result(command, running, here, out, err)
        if not died or victim == "worker":
            if left != truth:
                tally.broken.append(f"{where}: not the same: {err.decode()[-300:]}")
        else:
            _see_what_is_left(tally, left, truth, old, where)
        if wrong := damage_of(here / "counts.sqlite"):
            tally.broken.append(f"{where}: the cache is damaged: {wrong}")
        if not died:
            continue
        again, _ = whole_run(command, scene, here)
        if again == truth:
            tally.resumed += 1
        else:
            tally.broken.append(f"{where}: resumed, not the same: {again.err.decode()}")
    raise RuntimeError(f"{tally.late} runs ended before they were killed")


def _see_what_is_left(
    tally: Tally, left: Result, truth: Result, old: bytes | None, where: str
) -> None:
    for name, new in truth.files.items():
        found = left.files.get(name)
        if found == old:
            tally.left["absent" if old is None else "old"] += 1
        elif found == new:
            tally.left["new"] += 1
        else:
            tally.broken.append(f"{where}: {name} is neither the old one nor the new")
