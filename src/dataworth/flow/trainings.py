"""Many trainings on an engine: each in a worker that trains one model after another.

Every application that trains goes through `trainings`: the proxies of a comparison and the models
of a swarm.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from dataworth.engine.device import processes
from dataworth.engine.local import Engine, Sized, Tick
from dataworth.engine.progress import Progress

log = logging.getLogger("dataworth")
Item = TypeVar("Item", bound=Sized)
T = TypeVar("T")


def trainings(
    work: Callable[[Item, Tick], T],
    items: Sequence[Item],
    engine: Engine,
    progress: Progress,
    *,
    name: str,
    device: str,
) -> Iterator[T]:
    """Yield what `work` returns for each item, in order, and log how far it is.

    An item's `size` is its share of the work, in any unit. Models of one process take turns, as
    torch's threads are global; GPUs that are not named are shared by as many processes as find room
    on them.
    """
    if not items:
        return
    count = processes(device, engine.size) if engine.kind == "processes" else 1
    engine = Engine(min(count, len(items)), engine.kind)
    log.info("%s: %d models", name, len(items))
    begun = told = time.perf_counter()
    whole, done = sum(item.size for item in items), 0
    for number, result in enumerate(engine.map(work, items, name=name), 1):
        done += items[number - 1].size
        now = time.perf_counter()
        if progress.show != "none" and (now - told > progress.every or number == len(items)):
            told = now
            left = (whole - done) / max(done, 1) * (now - begun)
            log.info("%s: %d of %d models, about %.0f s left", name, number, len(items), left)
        yield result
