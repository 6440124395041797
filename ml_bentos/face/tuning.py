"""Teaching the upper part of the network on people of the house, without letting go of what it knows of everybody else.

ArcFace (Deng et al. 2019): each person taught with is a direction, and a photo must lie nearer to its own by a margin in the
angle. The directions begin where the network as it is puts the people. Against forgetting: a low rate, batch normalisations
that keep their statistics, and a pull back to the weights as they were (L2-SP, Li et al. 2018). The weights that are looked
at and kept are averaged ones (EMA). It stops early by people that it is not taught with, and where none of the epochs is
better for these, what comes back is what went in.

Works on activations at the cut (`network.CUT_SHAPE`), which are worked out once. Seeded by epoch, and a checkpoint after
each: a run that was killed goes on and ends with the same numbers. The directions of the people are templates; so a
checkpoint is bytes for the caller to seal, and nothing is written to disk here.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ml_bentos.cores import cores
from ml_bentos.face.alignment import Float32
from ml_bentos.face.arcface import Taught
from ml_bentos.face.network import Upper
from ml_bentos.face.vectors import EMBEDDING_DIM
from ml_bentos.face.verification import held_rows, rank, verified

Tell = Callable[[str], None]
_BATCH = 64


@dataclass(frozen=True)
class Plan:
    """How it is taught.

    Chosen by 174 held people of Labeled Faces in the Wild, 525 others taught with: their loss fell from 0.106 to 0.091 in four
    epochs. Of rates that did alike (2e-5, 5e-5) the lower, under which embeddings move a third less (1 - cosine); scale
    32 gave 0.093. With an anchor of 1000 it is 0.093, and they move another fifth less: the low rate is the greater guard.

    Attributes:
        margin: of ArcFace, in radians; scale: what cosines are multiplied by before the softmax.
        rate, class_rate: of AdamW, for the network and for the people's directions; it rises over the first epoch and falls
            as a cosine over the others.
        anchor: share of the way back to the weights as they were, at each step, times the rate (L2-SP).
        views: how many views of a photo an epoch takes, at random. most_of_one: photos of one person an epoch takes at most.
        steps: least batches of an epoch; of few photos it takes more views.
        average_epochs: how far back the averaged weights reach. patience: epochs without a better one.
    """

    seed: int = 7
    epochs: int = 5
    rate: float = 2e-5
    class_rate: float = 1e-3
    margin: float = 0.5
    scale: float = 16.0
    anchor: float = 20.0
    dropout: float = 0.0
    batch: int = 64
    views: int = 1
    most_of_one: int = 16
    steps: int = 10
    average_epochs: float = 1.0
    patience: int = 3


@dataclass(frozen=True)
class Examples:
    """Photos and whose they are.

    Attributes:
        activations: float16[m, views, 512, 7, 7]; a memory map will do.
        people: int[m], the person of each photo, any numbers.
        held: bool[m], photos of whole people that it is not taught with, to stop by.
    """

    activations: NDArray[np.float16]
    people: NDArray[np.int64]
    held: NDArray[np.bool_]


class Checkpoint(Protocol):
    """Where a run that is killed finds what it had. The caller seals it: it holds templates of the people taught with."""

    def load(self) -> bytes | None:
        """What was saved last, None where nothing was."""
        ...

    def save(self, data: bytes) -> None:
        """Keep it in one step, in place of what was saved before."""
        ...


@dataclass
class History:
    """By epoch (0: the network as it was).

    Attributes:
        taught_loss: ArcFace's loss over the epoch's batches (NaN at 0).
        held_loss, held_eer, held_fnmr: of people that it is not taught with: see `verification.Verification`.
        best: the epoch whose weights are kept.
    """

    taught_loss: list[float] = field(default_factory=list)
    held_loss: list[float] = field(default_factory=list)
    held_eer: list[float] = field(default_factory=list)
    held_fnmr: list[float] = field(default_factory=list)
    best: int = 0


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Tuning:
    """A run of teaching.

    Args:
        upper: the upper part as it is; it is not changed.
        checkpoint: of which a later run with the same network, plan and identity goes on.
        identity: of the data (a digest).
        tell: progress, in words.

    Attributes:
        history: figures by epoch. resumed_at: the epoch it went on with, 0 where it began anew.
        improved: whether an epoch was better than the network as it was.

    Raises ValueError where fewer than two people are taught with, or no held person has two photos.
    """

    def __init__(
        self, upper: Upper, examples: Examples, plan: Plan, checkpoint: Checkpoint, identity: str, tell: Tell
    ) -> None:
        self.plan, self.examples, self.tell = plan, examples, tell
        self.history = History()
        self.resumed_at = 0
        self._checkpoint = checkpoint
        self._device = device()
        self._taught = np.flatnonzero(~examples.held)
        people, self._numbers = np.unique(examples.people[self._taught], return_inverse=True)
        if len(people) < 2:
            raise ValueError("teaching wants two people or more")
        self._held = held_rows(examples.people, examples.held)
        upper = copy.deepcopy(upper).to(self._device)
        upper.dropout.p = plan.dropout
        self._before = {name: value.clone() for name, value in upper.state_dict().items()}
        self._identity = {"data": identity, "plan": asdict(plan), "network": _digest(self._before)}
        self.model = Taught(upper, torch.zeros(len(people), EMBEDDING_DIM)).to(self._device)
        self._average = _copied(self._before)
        self._best = self._before
        self._optimizer = self._new_optimizer()

    @property
    def improved(self) -> bool:
        """Whether an epoch was better than the network as it was."""
        return self.history.best > 0

    def run(self) -> Upper:
        """Teach, or go on teaching. Returns the upper part of the best epoch, on the CPU."""
        with _threads():
            if not self._resume():
                self._directions_first()
                self._look(0, float("nan"))
                self._save()
            while len(self.history.held_loss) <= self.plan.epochs and not self._enough():
                epoch = len(self.history.held_loss)
                self._look(epoch, self._epoch(epoch))
                self._save()
        upper = self.model.upper
        upper.load_state_dict(self._best)
        return upper.cpu().eval()

    @torch.no_grad()
    def embeddings(self, rows: NDArray[np.int64]) -> Float32:
        """float32[len(rows), 128]: sum over the views of normalised outputs, normalised, by the weights as they stand."""
        self.model.eval()
        views = self.examples.activations.shape[1]
        found = np.zeros((len(rows), EMBEDDING_DIM), np.float32)
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            total = sum(functional.normalize(self.model.upper(self._activations(batch, view))) for view in range(views))
            assert isinstance(total, Tensor)
            found[start : start + _BATCH] = functional.normalize(total).cpu().numpy()
        return found

    def _new_optimizer(self) -> torch.optim.Optimizer:
        parts = (self.model.upper.parameters(), self.plan.rate), ([self.model.directions], self.plan.class_rate)
        return torch.optim.AdamW([{"params": list(part), "lr": rate} for part, rate in parts], weight_decay=0.0)

    def _directions_first(self) -> None:
        """Each person's mean embedding under the network as it is."""
        self.tell(f"{len(self._taught)} photos of {len(self.model.directions)} people, {len(self._held)} photos held")
        sums = np.zeros(tuple(self.model.directions.shape), np.float32)
        np.add.at(sums, self._numbers, self.embeddings(self._taught))
        with torch.no_grad():
            self.model.directions.copy_(functional.normalize(torch.from_numpy(sums)))

    def _epoch(self, epoch: int) -> float:
        plan = self.plan
        rng = np.random.default_rng((plan.seed, epoch))
        torch.manual_seed(plan.seed * 1000 + epoch)
        places = self._places(rng)
        views = rng.integers(0, self.examples.activations.shape[1], len(places))
        starts = range(0, len(places), plan.batch)
        keep = 1 - 1 / (plan.average_epochs * len(starts) + 1)
        self.model.train()
        total = 0.0
        for number, start in enumerate(starts, 1):
            chosen = places[start : start + plan.batch]
            self._set_rates(epoch - 1 + number / len(starts))
            total += self._step(chosen, views[start : start + plan.batch], keep) * len(chosen)
            if number % 16 == 0 or number == len(starts):
                seen = start + len(chosen)
                self.tell(f"epoch {epoch}/{plan.epochs}: {number}/{len(starts)} batches, loss {total / seen:.3f}")
        return total / len(places)

    def _places(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """What an epoch goes through, in its order: places in `_taught`."""
        plan = self.plan
        order = rng.permutation(len(self._taught))
        order = order[rank(self._numbers[order]) < plan.most_of_one]
        often = max(plan.views, math.ceil(plan.steps * plan.batch / len(order)))
        return np.concatenate([rng.permutation(order) for _ in range(often)])

    def _set_rates(self, passed: float) -> None:
        """Of `passed` epochs: up to the full rate over the first, then down along a cosine to a twentieth."""
        plan = self.plan
        down = max(0.0, passed - 1) / max(1, plan.epochs - 1)
        share = min(1.0, passed) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, down))))
        for group, rate in zip(self._optimizer.param_groups, (plan.rate, plan.class_rate), strict=True):
            group["lr"] = rate * share

    def _step(self, places: NDArray[np.int64], views: NDArray[np.int64], keep: float) -> float:
        people = torch.from_numpy(self._numbers[places]).to(self._device)
        loss = self.model.loss(
            self._activations(self._taught[places], views), people, self.plan.margin, self.plan.scale
        )
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        back = self._optimizer.param_groups[0]["lr"] * self.plan.anchor
        with torch.no_grad():
            for name, value in self.model.upper.named_parameters():
                value.lerp_(self._before[name], back)
                self._average[name].lerp_(value, 1 - keep)
        return float(loss.detach())

    def _activations(self, rows: NDArray[np.int64], views: Any) -> Tensor:
        return torch.from_numpy(self.examples.activations[rows, views].astype(np.float32)).to(self._device)

    def _look(self, epoch: int, taught_loss: float) -> None:
        """How the averaged weights do on the held people."""
        own = _copied(self.model.upper.state_dict())
        self.model.upper.load_state_dict(self._average)
        found = verified(self.embeddings(self._held), self.examples.people[self._held])
        self.model.upper.load_state_dict(own)
        self.history.taught_loss.append(taught_loss)
        self.history.held_loss.append(found.loss)
        self.history.held_eer.append(found.eer)
        self.history.held_fnmr.append(found.fnmr)
        if found.loss < min(self.history.held_loss[:-1], default=math.inf):
            self.history.best = epoch
            self._best = _copied(self._average)
        self.tell(
            f"epoch {epoch}: loss {found.loss:.4f}, EER {found.eer:.4f}, FNMR at FMR 1e-2 {found.fnmr:.4f}"
            " of people it is not taught with"
        )

    def _enough(self) -> bool:
        return len(self.history.held_loss) - 1 - self.history.best >= self.plan.patience

    def _save(self) -> None:
        written = io.BytesIO()
        torch.save(
            {
                "identity": self._identity,
                "history": asdict(self.history),
                "model": self.model.state_dict(),
                "average": self._average,
                "best": self._best if self.improved else None,
                "optimizer": self._optimizer.state_dict(),
            },
            written,
        )
        self._checkpoint.save(written.getvalue())

    def _resume(self) -> bool:
        data = self._checkpoint.load()
        if data is None:
            return False
        try:
            state = torch.load(io.BytesIO(data), map_location=self._device, weights_only=True)
            if state["identity"] != self._identity:
                self.tell("the checkpoint is of other data, another plan or another network; beginning anew")
                return False
            self._restore(state)
        except Exception as error:  # a damaged one; torch has no common base of its errors
            self.tell(f"the checkpoint cannot be read ({type(error).__name__}); beginning anew")
            self.history, self._average, self._best = History(), _copied(self._before), self._before
            self.model.upper.load_state_dict(self._before)
            self._optimizer = self._new_optimizer()
            return False
        self.resumed_at = len(self.history.held_loss)
        self.tell(f"going on with epoch {self.resumed_at} of a run that was stopped")
        return True

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.history = History(**state["history"])
        self.model.load_state_dict(state["model"])
        self._average = dict(state["average"])
        self._best = dict(state["best"]) if self.improved else self._before
        self._optimizer.load_state_dict(state["optimizer"])


@contextlib.contextmanager
def _threads() -> Iterator[None]:
    """PyTorch on OMP_NUM_THREADS threads, or on all cores: sums come out otherwise with another number, and loading a
    face model, which may or may not have happened in this process, sets it to one.

    On a machine with other work to do, OMP_WAIT_POLICY=passive in the process's environment keeps threads from spinning while
    they wait for one another: a step took 0.9 s so on two busy cores, 3.6 s without it.
    """
    before, wanted = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS", "")
    torch.set_num_threads(int(wanted) if wanted.isdigit() and int(wanted) > 0 else cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].cpu().numpy().tobytes())
    return digest.hexdigest()
