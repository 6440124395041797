"""What a step of teaching takes, and what the network alone would take in its place.

A step is timed by what the product's run tells of its progress. The limit is the same network on the same device with a batch that
lies there already: forward, backward and the optimiser's step, nothing else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from ml_bentos.cores import cores
from tests.results import sized

BATCHES = re.compile(r"epoch (\d+)/\d+: (\d+)/\d+ batches")
MOST, WARM = sized(3, 16), sized(1, 2)
# Of the laundry model's teaching; of each the run tells a few times.
EPOCHS = sized(1, 2)


class Progress:
    """Hears what a run tells, and when."""

    def __init__(self) -> None:
        self._heard: list[tuple[int, int, float]] = []

    def __call__(self, text: str) -> None:
        found = BATCHES.match(text)
        if found:
            self._heard.append((int(found[1]), int(found[2]), time.perf_counter()))

    def step_s(self) -> float:
        """The median seconds of a step. Raises RuntimeError where too little was told."""
        pairs = zip(self._heard, self._heard[1:], strict=False)
        steps = [(t1 - t0) / (b1 - b0) for (e0, b0, t0), (e1, b1, t1) in pairs if e0 == e1]
        if not steps:
            raise RuntimeError("the run told of no two batches of an epoch")
        return float(np.median(steps))


def bare(loss: Callable[[], torch.Tensor], parameters: Iterable[torch.nn.Parameter], device: torch.device) -> float:
    """The median seconds of a step that has nothing to fetch."""
    optimizer = torch.optim.AdamW(parameters, lr=1e-6)
    taken = []
    for _ in range(MOST + WARM):
        begun = time.perf_counter()
        found = loss()
        optimizer.zero_grad()
        found.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken[WARM:]))


def on_all_cores(call: Callable[[], Any], number: int) -> float:
    """Seconds of so many calls, side by side."""
    with ThreadPoolExecutor(cores()) as pool:
        begun = time.perf_counter()
        for _ in pool.map(lambda _: call(), range(number)):
            pass
        return time.perf_counter() - begun


def named(device: torch.device) -> str:
    """What a table calls it."""
    return torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
