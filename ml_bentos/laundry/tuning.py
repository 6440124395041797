"""Teaching the top of the network: lines between done and not done first, on features as they are; then the top with them.

Works on what the frozen part makes of each view of each photo (`network.CUT_SHAPE`, half precision), which is worked out
once. Seeded by epoch, and a checkpoint after each: a run that was killed goes on and ends with the same numbers. Stops
early by the log loss of groups that it is not taught with, and keeps the best epoch.
"""

import io
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ml_bentos.laundry.backbone import DIM
from ml_bentos.laundry.network import Upper
from ml_bentos.laundry.preprocessing import Float32

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How it is taught. Rates of AdamW; smoothing: of labels, since some are wrong; patience: epochs without a better one.

    average_epochs: how far back the averaged weights reach. steps: least batches of an epoch; of few photos it takes more views.
    """

    seed: int = 7
    head_epochs: int = 60
    head_rate: float = 0.01
    head_decay: float = 0.5
    epochs: int = 14
    rate: float = 2e-4
    decay: float = 0.02
    batch: int = 32
    smoothing: float = 0.05
    dropout: float = 0.3
    average_epochs: float = 1.0
    steps: int = 20
    patience: int = 6


@dataclass(frozen=True)
class Examples:
    """Photos of all tasks.

    Attributes:
        activations: float16[m, views, 192, 7, 7]; a memory map will do. View 0 is the photo as it is.
        places: int[n], where in it each photo is (a photo may be of two tasks).
        tasks: int[n], index of the task; labels: int[n], 1 is done.
        held: bool[n], photos of groups that it is not taught with, to stop by.
    """

    activations: NDArray[np.float16]
    places: NDArray[np.int64]
    tasks: NDArray[np.int64]
    labels: NDArray[np.int64]
    held: NDArray[np.bool_]


@dataclass
class History:
    """By epoch (0: the lines alone): log loss of the taught and the held photos, accuracy of the held ones."""

    taught_loss: list[float] = field(default_factory=list)
    held_loss: list[float] = field(default_factory=list)
    held_accuracy: list[float] = field(default_factory=list)
    best: int = 0


class Judge(nn.Module):
    """Features and, for each task, the log-odds of done.

    The line stands on standardised features: their means and deviations over the photos taught with are kept as they were.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, upper: Upper, tasks: int, dropout: float) -> None:
        super().__init__()
        self.upper = upper
        self.register_buffer("mean", torch.zeros(DIM))
        self.register_buffer("deviation", torch.ones(DIM))
        self.dropout = nn.Dropout(dropout)
        self.lines = nn.Linear(DIM, tasks)

    def features(self, x: Tensor) -> Tensor:
        """float[n, 1280] of length 1, of float[n, 192, 7, 7]."""
        return functional.normalize(self.upper(x))

    def log_odds(self, features: Tensor, tasks: Tensor) -> Tensor:
        """float[n]: of each photo in its own task."""
        standard = self.dropout((features - self.mean) / self.deviation)
        return self.lines(standard).gather(1, tasks[:, None])[:, 0]

    def line(self, task: int) -> tuple[Float32, float]:
        """Weights and bias of a task on plain features."""
        weights = (self.lines.weight[task] / self.deviation).detach()
        bias = self.lines.bias[task].detach() - weights @ self.mean
        return weights.cpu().numpy().astype(np.float32), float(bias)


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Tuning:
    """A run of teaching; `folder` keeps its checkpoint, of which a later run with the same plan and data goes on.

    identity: of the data (a digest); a checkpoint of other data or another plan is not gone on with.
    """

    def __init__(self, upper: Upper, examples: Examples, plan: Plan, folder: Path, identity: str, tell: Tell) -> None:
        self.plan, self.examples, self.tell = plan, examples, tell
        self._file = folder / "tuning.pt"
        self._identity = {"data": identity, "plan": asdict(plan)}
        self._device = device()
        torch.manual_seed(plan.seed)
        self.judge = Judge(upper, int(examples.tasks.max()) + 1, plan.dropout).to(self._device)
        self.history = History()
        self._average = {name: value.clone() for name, value in self.judge.state_dict().items()}
        self._best = self._average
        self._optimizer = torch.optim.AdamW(
            [
                {"params": self.judge.upper.parameters(), "lr": plan.rate},
                {"params": self.judge.lines.parameters(), "lr": plan.rate},
            ],
            weight_decay=plan.decay,
        )
        self.resumed_at = 0

    def run(self) -> Judge:
        """Teach, or go on teaching. Returns the judge of the best epoch."""
        if not self._resume():
            self._head_first()
            self._look(0, float("nan"))
            self._save()
        while len(self.history.held_loss) <= self.plan.epochs and not self._enough():
            epoch = len(self.history.held_loss)
            loss = self._epoch(epoch)
            self._look(epoch, loss)
            self._save()
        self.judge.load_state_dict(self._best)
        self.judge.eval()
        return self.judge

    @torch.no_grad()
    def features(self, rows: NDArray[np.int64], view: int = 0) -> Float32:
        """float32[len(rows), 1280] by the judge as it stands."""
        self.judge.eval()
        found = [
            self.judge.features(self._activations(rows[start : start + 64], view)).cpu().numpy()
            for start in range(0, len(rows), 64)
        ]
        return np.concatenate(found) if found else np.zeros((0, DIM), np.float32)

    def _head_first(self) -> None:
        """The lines on features of the photo and its mirror image, all photos at a time."""
        plan, examples = self.plan, self.examples
        taught = np.flatnonzero(~examples.held)
        self.tell("head: features of the network as it is")
        features = torch.from_numpy(np.concatenate([self.features(taught, view) for view in (0, 1)])).to(self._device)
        tasks = torch.from_numpy(np.tile(examples.tasks[taught], 2)).to(self._device)
        labels = torch.from_numpy(np.tile(examples.labels[taught], 2)).float().to(self._device)
        self.judge.mean.copy_(features.mean(0))
        self.judge.deviation.copy_(features.std(0).clamp_min(1e-4))
        nn.init.zeros_(self.judge.lines.weight)
        nn.init.zeros_(self.judge.lines.bias)
        optimizer = torch.optim.AdamW(self.judge.lines.parameters(), lr=plan.head_rate, weight_decay=plan.head_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.head_epochs)
        self.judge.train()
        for _ in range(plan.head_epochs):
            loss = self._loss(self.judge.log_odds(features, tasks), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        self._average = {name: value.clone() for name, value in self.judge.state_dict().items()}

    def _epoch(self, epoch: int) -> float:
        plan, examples = self.plan, self.examples
        rng = np.random.default_rng((plan.seed, epoch))
        torch.manual_seed(plan.seed * 1000 + epoch)
        taught = np.flatnonzero(~examples.held)
        often = max(1, math.ceil(plan.steps * plan.batch / len(taught)))
        taught = np.concatenate([rng.permutation(taught) for _ in range(often)])
        views = rng.integers(0, examples.activations.shape[1], len(taught))
        rate = plan.rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / plan.epochs))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.judge.train()
        total = 0.0
        starts = range(0, len(taught), plan.batch)
        for number, start in enumerate(starts, 1):
            rows, seen = taught[start : start + plan.batch], views[start : start + plan.batch]
            loss = self._step(rows, seen, 1 - 1 / (plan.average_epochs * len(starts) + 1))
            total += loss * len(rows)
            if number % 8 == 0:
                self.tell(
                    f"epoch {epoch}/{plan.epochs}: {number}/{len(starts)} batches, loss {total / (start + len(rows)):.3f}"
                )
        return total / len(taught)

    def _step(self, rows: NDArray[np.int64], views: NDArray[np.int64], keep: float) -> float:
        tasks = torch.from_numpy(self.examples.tasks[rows]).to(self._device)
        labels = torch.from_numpy(self.examples.labels[rows]).float().to(self._device)
        loss = self._loss(self.judge.log_odds(self.judge.features(self._activations(rows, views)), tasks), labels)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        with torch.no_grad():
            for name, value in self.judge.state_dict().items():
                if value.dtype.is_floating_point:
                    self._average[name].lerp_(value, 1 - keep)
        return float(loss.detach())

    def _activations(self, rows: NDArray[np.int64], views: Any) -> Tensor:
        return torch.from_numpy(self.examples.activations[self.examples.places[rows], views].astype(np.float32)).to(
            self._device
        )

    def _loss(self, log_odds: Tensor, labels: Tensor) -> Tensor:
        smooth = labels * (1 - self.plan.smoothing) + self.plan.smoothing / 2
        return functional.binary_cross_entropy_with_logits(log_odds, smooth)

    @torch.no_grad()
    def _look(self, epoch: int, taught_loss: float) -> None:
        """How the averaged weights do on the held photos."""
        own = {name: value.clone() for name, value in self.judge.state_dict().items()}
        self.judge.load_state_dict(self._average)
        held = np.flatnonzero(self.examples.held)
        features = torch.from_numpy(self.features(held)).to(self._device)
        tasks = torch.from_numpy(self.examples.tasks[held]).to(self._device)
        labels = torch.from_numpy(self.examples.labels[held]).float().to(self._device)
        log_odds = self.judge.log_odds(features, tasks)
        loss = float(functional.binary_cross_entropy_with_logits(log_odds, labels))
        right = float(((log_odds > 0) == (labels == 1)).float().mean())
        self.history.taught_loss.append(taught_loss)
        self.history.held_loss.append(loss)
        self.history.held_accuracy.append(right)
        if epoch == int(np.argmin(self.history.held_loss)):
            self.history.best = epoch
            self._best = {name: value.clone() for name, value in self._average.items()}
        self.judge.load_state_dict(own)
        self.tell(f"epoch {epoch}: log loss {loss:.4f}, accuracy {right:.4f} on groups it is not taught with")

    def _enough(self) -> bool:
        return len(self.history.held_loss) - 1 - self.history.best >= self.plan.patience

    def _save(self) -> None:
        state = {
            "identity": self._identity,
            "history": asdict(self.history),
            "judge": self.judge.state_dict(),
            "average": self._average,
            "best": self._best,
            "optimizer": self._optimizer.state_dict(),
        }
        written = io.BytesIO()
        # Into memory first: PyTorch's own writer does not tell a full disk from any other trouble.
        torch.save(state, written)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".new")
        try:
            with temporary.open("wb") as file:
                file.write(written.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _resume(self) -> bool:
        try:
            state = torch.load(self._file, map_location=self._device, weights_only=True)
            if state["identity"] != self._identity:
                return False
            self.judge.load_state_dict(state["judge"])
            self._average, self._best = state["average"], state["best"]
            self._optimizer.load_state_dict(state["optimizer"])
            self.history = History(**state["history"])
        except FileNotFoundError:
            return False
        except Exception as error:  # a damaged file of a disk that was full; torch has no common base of its errors
            self.tell(f"the checkpoint cannot be read ({type(error).__name__}); beginning anew")
            return False
        self.resumed_at = len(self.history.held_loss)
        self.tell(f"going on with epoch {self.resumed_at} of a run that was stopped")
        return True
