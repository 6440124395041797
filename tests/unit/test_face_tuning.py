"""The network's upper part is taught: it learns, goes on after a stop with the same numbers, and never comes back worse."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ml_bentos.face import network, weights
from ml_bentos.face.arcface import Taught
from ml_bentos.face.images import decode_image
from ml_bentos.face.model import VIEWS, load_model, network_input
from ml_bentos.face.network import Upper
from ml_bentos.face.tuning import Examples, Plan, Tuning
from ml_bentos.face.verification import MOST_OF_HELD, held_rows, verified

PLAN = Plan(epochs=2, batch=12, steps=2)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Beside other tests, more threads would wait for one another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


class Memory:
    """A checkpoint; its store fails at the save of that number (from 0), as one that is killed."""

    def __init__(self, data: bytes | None = None, fails_at: int | None = None) -> None:
        self.data, self.saves, self.fails_at = data, 0, fails_at

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        if self.saves == self.fails_at:
            raise Killed
        self.data, self.saves = data, self.saves + 1


class Killed(Exception):
    """In the middle of a run."""


@pytest.fixture(scope="module")
def upper() -> Upper:
    shipped = weights.weight_set()
    return network.halves(network.from_onnx(weights.read(shipped, shipped.embedder)))[1]


@pytest.fixture(scope="module")
def examples() -> Examples:
    """Made-up activations of 12 people with 3 photos in 2 views; what a person has of their own is faint beside the noise."""
    rng = np.random.default_rng(3)
    people = np.repeat(np.arange(12), 3)
    own = rng.normal(0, 0.4, (12, 1, *network.CUT_SHAPE))
    activations = rng.normal(0, 1, (36, 2, *network.CUT_SHAPE)) + own[people]
    return Examples(activations.astype(np.float16), people * 7, people % 4 == 0)


def begun(upper: Upper, examples: Examples, memory: Memory, plan: Plan = PLAN, identity: str = "data") -> Tuning:
    return Tuning(upper, examples, plan, memory, identity, lambda _: None)


def same(one: Upper, other: Upper) -> bool:
    state = other.state_dict()
    return all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


@pytest.fixture(scope="module")
def unbroken(upper: Upper, examples: Examples) -> tuple[Tuning, Upper, Memory]:
    memory = Memory()
    run = begun(upper, examples, memory)
    return run, run.run(), memory


def test_it_learns_and_its_statistics_stay(
    upper: Upper, examples: Examples, unbroken: tuple[Tuning, Upper, Memory]
) -> None:
    run, taught, _ = unbroken
    history = run.history
    assert len(history.held_loss) == len(history.held_eer) == len(history.held_fnmr) == PLAN.epochs + 1
    assert history.held_loss[history.best] == min(history.held_loss)
    assert history.taught_loss[2] < history.taught_loss[1]
    learnt = np.flatnonzero(~examples.held)
    before = verified(_embedded(upper, examples, learnt), examples.people[learnt])
    after = verified(_embedded(taught, examples, learnt), examples.people[learnt])
    assert after.loss < before.loss
    kept, old = taught.state_dict(), upper.state_dict()
    assert all(torch.equal(kept[name], old[name]) for name in old if "running" in name)
    assert not same(taught, upper)


def test_the_figures_are_those_of_what_comes_back(examples: Examples, unbroken: tuple[Tuning, Upper, Memory]) -> None:
    run, taught, _ = unbroken
    held = np.flatnonzero(examples.held)
    found = verified(_embedded(taught, examples, held), examples.people[held])
    assert found.loss == pytest.approx(run.history.held_loss[run.history.best], abs=1e-4)
    assert run.improved == (run.history.best > 0)


def test_a_run_that_was_killed_ends_with_the_same_weights(
    upper: Upper, examples: Examples, unbroken: tuple[Tuning, Upper, Memory]
) -> None:
    whole, taught, _ = unbroken
    memory = Memory(fails_at=2)
    with pytest.raises(Killed):
        begun(upper, examples, memory).run()
    again = begun(upper, examples, Memory(memory.data))
    assert same(again.run(), taught)
    assert again.resumed_at == 2
    assert again.history.held_loss == whole.history.held_loss
    assert again.history.best == whole.history.best


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _junk(data: bytes) -> bytes:
    return b"junk" * 100


def _lacking(data: bytes) -> bytes:
    state = torch.load(io.BytesIO(data), weights_only=True)
    del state["optimizer"]
    written = io.BytesIO()
    torch.save(state, written)
    return written.getvalue()


@pytest.mark.parametrize("damage", [_cut, _junk, _lacking])
def test_a_damaged_checkpoint_begins_anew(
    upper: Upper, examples: Examples, unbroken: tuple[Tuning, Upper, Memory], damage: Callable[[bytes], bytes]
) -> None:
    whole, _, memory = unbroken
    assert memory.data is not None
    told: list[str] = []
    again = Tuning(upper, examples, PLAN, Memory(damage(memory.data), fails_at=1), "data", told.append)
    with pytest.raises(Killed):
        again.run()
    assert again.resumed_at == 0
    assert again.history.held_loss == whole.history.held_loss[:2]
    assert any("beginning anew" in line for line in told)


@pytest.mark.parametrize("change", ["data", "plan", "network"])
def test_a_checkpoint_of_something_else_is_not_gone_on_with(
    upper: Upper, examples: Examples, unbroken: tuple[Tuning, Upper, Memory], change: str
) -> None:
    _, taught, memory = unbroken
    plan = replace(PLAN, epochs=1) if change == "plan" else replace(PLAN)
    told: list[str] = []
    run = Tuning(
        taught if change == "network" else upper,
        examples,
        plan,
        Memory(memory.data, fails_at=0),
        "other" if change == "data" else "data",
        told.append,
    )
    with pytest.raises(Killed):
        run.run()
    assert run.resumed_at == 0
    assert any("beginning anew" in line for line in told)


def test_where_nothing_gets_better_the_network_stays_as_it_was(upper: Upper, examples: Examples) -> None:
    # At a rate that leaves nothing of what it knew.
    memory = Memory()
    run = begun(upper, examples, memory, replace(PLAN, rate=0.1, anchor=0.0, patience=1))
    assert same(run.run(), upper)
    assert not run.improved
    assert len(run.history.held_loss) == 2
    assert same(begun(upper, examples, memory, run.plan).run(), upper)


def test_nothing_but_the_checkpoint_is_written(
    upper: Upper, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    original = open

    def noted(file: object, mode: str = "r", *args: object, **others: object) -> object:
        if set(mode) & set("wax+"):
            opened.append(file)
        return original(file, mode, *args, **others)  # type: ignore[call-overload]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("builtins.open", noted)
    monkeypatch.setattr("io.open", noted)
    memory = Memory()
    begun(upper, examples, memory, replace(PLAN, epochs=1)).run()
    assert memory.saves == 2
    assert opened == []
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("held", [np.zeros(36, bool), np.ones(36, bool), np.arange(36) < 3])
def test_too_few_people_are_told_before_anything_is_done(upper: Upper, examples: Examples, held: np.ndarray) -> None:
    with pytest.raises(ValueError, match="people"):
        begun(upper, Examples(examples.activations, examples.people, held), Memory())


def test_held_photos_that_are_looked_at_are_bounded() -> None:
    people = np.concatenate([np.zeros(500, np.int64), np.repeat(np.arange(1, 3001), 2), np.arange(4000, 9000)])
    rows = held_rows(people, np.ones(len(people), bool))
    assert len(rows) <= 3000
    assert np.sum(people[rows] == 0) == MOST_OF_HELD
    assert people[rows].max() < 4000  # those with one photo only last
    assert np.array_equal(rows, np.unique(rows))


def test_the_margin_is_added_to_the_angle(upper: Upper) -> None:
    # Directions of three people; a "network" whose embedding is what it is given.
    taught = Taught(upper, functional.normalize(torch.randn(3, 128, generator=torch.Generator().manual_seed(1))))
    given = functional.normalize(torch.randn(4, 128, generator=torch.Generator().manual_seed(2)))
    taught.upper = torch.nn.Identity()  # type: ignore[assignment]
    people = torch.tensor([0, 1, 2, 1])
    angles = torch.acos(given @ taught.directions.T)
    wanted = functional.cross_entropy(20 * torch.cos(angles + 0.4 * functional.one_hot(people, 3)), people)
    assert torch.allclose(taught.loss(given, people, 0.4, 20.0), wanted, atol=1e-4)
    # However wrong the network is, further away is never better, and there is a way down.
    opposite = (-taught.directions[:1]).clone().detach().requires_grad_(True)
    loss = taught.loss(opposite, torch.tensor([0]), 0.4, 20.0)
    assert loss > taught.loss(-opposite.detach(), torch.tensor([0]), 0.4, 20.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert opposite.grad is not None
    assert torch.isfinite(opposite.grad).all()


def test_people_in_photographs_are_told_apart_better_once_taught(lfw: Path, upper: Upper) -> None:
    shipped = weights.weight_set()
    lower, _ = network.halves(network.from_onnx(weights.read(shipped, shipped.embedder)))
    model = load_model()
    folders = [folder for folder in sorted(lfw.iterdir()) if len(list(folder.glob("*.jpg"))) >= 3][:12]
    cuts, people = [], []
    for number, folder in enumerate(folders):
        for path in sorted(folder.glob("*.jpg"))[:3]:
            bgr = decode_image(path.read_bytes())
            # Out of focus and dim, as the pretrained network has seen few.
            crop = model.crop(bgr, model.detect(bgr)[0], VIEWS[0])
            cuts.append(network.activations(lower, _poor(network_input(crop[None]))))
            people.append(number)
    owner = np.array(people)
    examples = Examples(np.stack(cuts), owner, owner >= 8)
    taught = begun(upper, examples, Memory(), replace(PLAN, epochs=3, steps=4)).run()
    rows = np.flatnonzero(~examples.held)
    before = verified(_embedded(upper, examples, rows), owner[rows])
    after = verified(_embedded(taught, examples, rows), owner[rows])
    assert after.loss < before.loss


def _poor(rgb: np.ndarray) -> np.ndarray:
    small = functional.avg_pool2d(torch.from_numpy(rgb), 7)
    return np.asarray(functional.interpolate(small, size=112, mode="bilinear").numpy() * 0.4, np.float32)


def _embedded(upper: Upper, examples: Examples, rows: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        cuts = torch.from_numpy(examples.activations[rows].astype(np.float32))
        total: Tensor = sum(functional.normalize(upper(cuts[:, view])) for view in range(cuts.shape[1]))  # type: ignore[assignment]
        return functional.normalize(total).numpy()
