"""What the evaluation looks like in the Dagster UI: tables, and curves as PNG."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from data_assets import plots
from data_assets.laundry.answers import Answers

Drawn = Sequence[tuple[str, Answers, NDArray[np.int64]]]
"""For each task its answers and the labels, int[n], 1 is done."""
BINS = 8


def against(live: Mapping[str, Any] | None) -> str:
    """A line about the difference to the live version."""
    if live is None:
        return "nothing serves to be compared with"
    gain = live["gain"]
    return (
        f"{gain['gain']:+.4f} against {live['version']} (95 % interval {gain['low']:+.4f} to {gain['high']:+.4f},"
        f" McNemar p = {gain['mcnemar_p']:.3f})"
    )


def metadata(value: Mapping[str, Any], drawn: Drawn) -> dict[str, Any]:
    """Metadata of the evaluation."""
    live = value["live"]
    told: dict[str, Any] = {
        **{name: float(number) for name, number in value["metrics"].items() if name in _PLAIN},
        "tuned": value["tuned"],
        "against_live": against(live),
        "seconds": value["seconds"],
        "per_task": dg.MetadataValue.table(_tasks(value["per_task"])),
    }
    if live is not None:
        told["parts"] = dg.MetadataValue.table(
            [dg.TableRecord({"part": part, **gain}) for part, gain in live["parts"].items()]
            or [dg.TableRecord({"part": "all", **live["gain"]})]
        )
    if drawn:
        told |= {"confusion": confusion(drawn), "reliability": reliability(drawn), "coverage_curve": coverage(drawn)}
    return told


def confusion(drawn: Drawn) -> dg.MarkdownMetadataValue:
    """What was said of what, photos by task."""
    figure = plots.figure(3.4 * len(drawn), 3)
    for axes, (task, asked, labels) in zip(np.atleast_1d(figure.subplots(1, len(drawn))), drawn, strict=True):
        said = np.where(asked.answered, np.where(asked.done >= 0.5, 0, 1), 2)
        counts = np.array(
            [[int(((labels == truth) & (said == column)).sum()) for column in range(3)] for truth in (1, 0)]
        )
        axes.imshow(counts, cmap="Blues")
        for (row, column), count in np.ndenumerate(counts):
            axes.text(column, row, str(count), ha="center", va="center")
        axes.set_xticks(range(3), ["done", "not done", "unclear"])
        axes.set_yticks(range(2), ["done", "not done"])
        axes.set(title=task, xlabel="said", ylabel="is")
    return plots.png(figure, "confusion")


def reliability(drawn: Drawn) -> dg.MarkdownMetadataValue:
    """Share of done among photos by the probability that was given (equal counts in each bin)."""
    figure = plots.figure(4.5, 4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    for task, asked, labels in drawn:
        parts = [part for part in np.array_split(np.argsort(asked.done), min(BINS, len(labels))) if len(part)]
        axes.plot(
            [asked.done[part].mean() for part in parts], [labels[part].mean() for part in parts], "o-", label=task
        )
    axes.set(xlabel="probability of done", ylabel="share that is done")
    axes.legend()
    return plots.png(figure, "reliability")


def coverage(drawn: Drawn) -> dg.MarkdownMetadataValue:
    """Accuracy of the answers by the share of photos answered, the surest first."""
    figure = plots.figure(4.5, 4)
    axes = figure.subplots()
    for task, asked, labels in drawn:
        right = asked.right(labels)[np.argsort(-np.maximum(asked.done, 1 - asked.done), kind="stable")]
        share = np.arange(1, len(right) + 1) / len(right)
        axes.plot(share, np.cumsum(right) / np.arange(1, len(right) + 1), label=task)
        axes.axvline(asked.answered.mean(), linestyle=":", color="grey")
    axes.set(xlabel="share of photos answered", ylabel="accuracy of the answers")
    axes.legend()
    return plots.png(figure, "coverage")


def _tasks(tasks: Mapping[str, Mapping[str, Any]]) -> list[dg.TableRecord]:
    names = sorted({name for figures in tasks.values() for name in figures if name != "coverage_curve"})
    return [
        dg.TableRecord({"task": task, **{name: round(float(figures.get(name, float("nan"))), 4) for name in names}})
        for task, figures in tasks.items()
    ]


_PLAIN = (
    "accuracy", "accuracy_low", "accuracy_high", "ece", "ece_by_chance", "coverage", "accuracy_answered", "refused_in_kind",
    "refused_others", "latency_ms", "size_bytes", "photos",
)  # fmt: skip
