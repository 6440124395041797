"""The network's top is taught: it learns, goes on after a stop with the same numbers, and is served as it was taught."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ml_bentos.laundry import augmentation, backbone, network, package, teaching
from ml_bentos.laundry.backbone import Backbone
from ml_bentos.laundry.preprocessing import tensor
from ml_bentos.laundry.tuning import Examples, Plan, Tuning

PLAN = Plan(epochs=3, head_epochs=20, batch=16, steps=3)


def picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def examples() -> Examples:
    """Made-up activations of 60 photos in 2 views; what is done is brighter in some channels."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 60)
    raw = rng.normal(0, 1, (60, 2, *network.CUT_SHAPE))
    raw[:, :, :24] += 1.5 * labels[:, None, None, None, None]
    held = np.arange(60) % 4 == 0
    return Examples(raw.astype(np.float16), np.arange(60), np.arange(60) % 2, labels.astype(np.int64), held)


def run(examples: Examples, folder: Path, plan: Plan = PLAN, identity: str = "data") -> Tuning:
    made = Tuning(network.halves()[1], examples, plan, folder, identity, lambda _: None)
    made.run()
    return made


def test_it_learns_and_keeps_the_best_epoch(examples: Examples, tmp_path: Path) -> None:
    made = run(examples, tmp_path)
    losses = made.history.held_loss
    assert len(losses) == PLAN.epochs + 1
    assert losses[made.history.best] == min(losses) < np.log(2)
    weights, bias = made.judge.line(0)
    rows = np.flatnonzero(examples.tasks == 0)
    with torch.no_grad():
        asked = made.judge.log_odds(torch.from_numpy(made.features(rows)), torch.zeros(len(rows), dtype=torch.int64))
    # The line of the package is the one that was taught, on plain features.
    assert np.allclose(made.features(rows) @ weights + bias, asked.numpy(), atol=1e-3)


def test_a_run_that_was_stopped_ends_with_the_same_numbers(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(examples, tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop(self: Tuning, epoch: int) -> float:
        if epoch == 2:
            raise Stopped
        return original(self, epoch)

    original = Tuning._epoch
    with monkeypatch.context() as patch:
        patch.setattr(Tuning, "_epoch", stop)
        with pytest.raises(Stopped):
            run(examples, tmp_path / "stopped")
    again = run(examples, tmp_path / "stopped")
    assert again.resumed_at == 2
    assert again.history.held_loss == whole.history.held_loss
    assert np.array_equal(again.judge.line(1)[0], whole.judge.line(1)[0])


@pytest.mark.parametrize("change", ["data", "plan", "damage"])
def test_a_checkpoint_of_something_else_is_not_gone_on_with(examples: Examples, tmp_path: Path, change: str) -> None:
    short = Plan(epochs=1, head_epochs=5, steps=1)
    run(examples, tmp_path, short)
    if change == "damage":
        file = tmp_path / "tuning.pt"
        file.write_bytes(file.read_bytes()[:1000])
    plan = Plan(epochs=1, head_epochs=6, steps=1) if change == "plan" else short
    assert run(examples, tmp_path, plan, "other" if change == "data" else "data").resumed_at == 0


def test_what_serves_is_what_was_taught() -> None:
    lower, upper = network.halves()
    torch.manual_seed(1)
    with torch.no_grad():
        for weights in upper.parameters():
            weights += 0.01 * torch.randn_like(weights)
    whole = network.Whole(lower, upper).eval()
    served, shipped = Backbone(network.to_onnx(whole)), Backbone(backbone.export())
    for seed in range(3):
        with torch.no_grad():
            taught = torch.nn.functional.normalize(whole(torch.from_numpy(tensor(picture(seed)))))[0].numpy()
        assert np.abs(served.features(picture(seed)) - taught).max() < 1e-4
        assert np.abs(served.features(picture(seed)) - shipped.features(picture(seed))).max() > 1e-3


def test_the_halves_are_the_network_as_it_comes() -> None:
    lower, upper = network.halves()
    photo = torch.from_numpy(tensor(picture(1)))
    with torch.no_grad():
        cut = lower(photo)
        whole = network.pretrained().extract_features(photo).mean((2, 3))  # type: ignore[operator]
        assert tuple(cut.shape[1:]) == network.CUT_SHAPE
        assert torch.allclose(upper(cut), whole, atol=1e-5)
    assert np.allclose(Backbone(network.lower_onnx()).run(tensor(picture(1))), cut.numpy(), atol=1e-3)


def test_views_are_the_same_each_time_and_differ_from_one_another() -> None:
    first, again = (augmentation.views(picture(1), "ab" * 32) for _ in range(2))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert np.array_equal(first[0], picture(1))
    assert np.array_equal(first[1], picture(1)[:, ::-1])
    assert len({view.tobytes() for view in first}) == augmentation.VIEWS
    assert not np.array_equal(first[3], augmentation.views(picture(1), "cd" * 32)[3])


def test_heads_of_a_taught_network_are_calibrated_by_photos_it_was_not_taught_with() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 400)
    # Far too sure of itself: right in three of four cases, and says 99.99 %.
    right = rng.random(400) < 0.75
    log_odds = np.where((labels == 1) == right, 9.0, -9.0)
    features = rng.normal(0, 1, (400, 1280)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    names = teaching.Names("hanging", "hung", "flat")
    heads = teaching.calibrated(
        {"hanging": (names, features[0], 0.5)},
        teaching.Held(log_odds, labels),
        {"hanging": features[:300]},
        {"hanging": features[300:]},
    )
    head = heads["hanging"]
    scale = np.linalg.norm(head.weights) / np.linalg.norm(features[0])
    assert 0.05 < scale * 9.0 < 2.0
    assert head.sure_from > 0.75
    assert np.mean([head.likeness(vector) >= head.alike_from for vector in features[300:]]) >= 0.97
    assert package.heads_of(*package.head_files(heads).values())["hanging"].numbers() == head.numbers()
