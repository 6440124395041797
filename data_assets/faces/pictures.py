"""What the evaluation and the thresholds of a face model look like in the Dagster UI: tables, and curves as PNG."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np
from scipy.stats import norm

from data_assets import plots
from data_assets.faces.figures import FMR, FPIR
from ml_bentos.face.thresholds import Thresholds

RATES = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5)
"""Where the axes of the DET curve are marked."""
GALLERIES = (300, 1000, 10_000)


def against(evaluation: Mapping[str, Any]) -> str:
    """A line about the difference to the live version, for the log and as the reason of a deployment."""
    if evaluation["live"] is None:
        return "nothing serves to be compared with"
    told = [
        f"{part}: FNMR at FMR {FMR} {points(figures['gain']['fnmr'])}"
        for part, figures in evaluation["figures"].items()
        if figures["gain"] is not None
    ]
    return f"against {evaluation['live']['version']}, {'; '.join(told) or 'no figures'}"


def points(gain: Mapping[str, float] | None) -> str:
    """A gain in percentage points with its interval; positive is better."""
    if gain is None:
        return "not known (too few comparisons)"
    low, high = 100 * gain["low"], 100 * gain["high"]
    return f"gain {100 * gain['gain']:+.2f} points (95 % interval {low:+.2f} to {high:+.2f})"


def of_evaluation(value: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of the evaluation."""
    figures = value["figures"]
    told: dict[str, Any] = {
        "against_live": against(value),
        "rates": dg.MetadataValue.table(_rates(figures) or [dg.TableRecord({"part": "none"})]),
        "det": det(figures),
    }
    for name in ("latency_ms", "size_bytes", "crops_left_out", "seconds"):
        if name in value:
            told[name] = value[name]
    groups = _groups(figures)
    if groups:
        told["groups"] = dg.MetadataValue.table(groups)
    return told


def det(figures: Mapping[str, Any]) -> dg.MarkdownMetadataValue:
    """DET curves on axes of normal deviates (Martin et al. 1997), on which equally spread scores give straight lines.

    A curve ends where no error was seen any more.
    """
    figure = plots.figure(4.8 * max(1, len(figures)), 4.4)
    for axes, (part, of) in zip(np.atleast_1d(figure.subplots(1, max(1, len(figures)))), figures.items(), strict=False):
        for model, style in (("live", "--"), ("new", "-")):
            if of[model] is not None:
                fmr, fnmr = (_deviate(of[model]["det"][name]) for name in ("fmr", "fnmr"))
                axes.plot(fmr, fnmr, style, label=model)
        axes.set_xticks(_deviate(RATES), [f"{100 * rate:g}" for rate in RATES])
        axes.set_yticks(_deviate(RATES), [f"{100 * rate:g}" for rate in RATES])
        axes.set(xlim=_deviate((1e-6, 0.6)), ylim=_deviate((5e-5, 0.6)))
        axes.set(title=f"{part}: {of['people']} people", xlabel="FMR, %", ylabel="FNMR, %")
        axes.grid(alpha=0.3)
        axes.legend()
    return plots.png(figure, "DET")


def of_thresholds(document: Mapping[str, Any], live_version: str) -> dict[str, Any]:
    """Metadata of the thresholds, from the document that `limits.measured` gives, beside the live version's."""
    new = Thresholds.from_dict(document["thresholds"])
    try:
        live = Thresholds.for_version(live_version)
    except FileNotFoundError:
        live = None
    held, measured_on = document["cross_validation"], document["measured_on"]
    return {
        "version": document["version"],
        "people": measured_on["people"],
        "photos": measured_on["photos"],
        "fpir": dg.MetadataValue.float(float(held["fpir"])),
        "fpir_stated": dg.MetadataValue.float(FPIR),
        "tpir": dg.MetadataValue.float(float(held["tpir"])),
        "same_person": new.same_person,
        "duplicate": new.duplicate,
        "accept": dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "gallery": size,
                        "new": round(new.accept(size), 4),
                        "live": round(live.accept(size), 4) if live else "",
                    }
                )
                for size in GALLERIES
            ]
        ),
        "curve": curve(new, live),
    }


def curve(new: Thresholds, live: Thresholds | None) -> dg.MarkdownMetadataValue:
    """Threshold over FMR, and where galleries of 1,000 and 10,000 are on it."""
    figure = plots.figure()
    axes = figure.subplots()
    for thresholds, style in ((live, "--"), (new, "-")):
        if thresholds is not None:
            axes.plot(thresholds.log10_fmr, thresholds.score, style, marker=".", label=thresholds.model_version)
    for size in GALLERIES[1:]:
        # FMR of one comparison, from FPIR = 1 - (1 - FMR)^N.
        at = float(np.log10(-np.expm1(np.log1p(-FPIR) / size)))
        axes.axvline(at, linestyle=":", color="grey")
        axes.text(at, axes.get_ylim()[0], f" {size:,}", rotation=90, va="bottom", color="grey")
    axes.set(xlabel="log10 FMR", ylabel="threshold", title=f"FPIR {FPIR:.1%} of galleries at the dotted lines")
    axes.legend(fontsize="small")
    return plots.png(figure, "thresholds")


def _deviate(rates: Any) -> Any:
    seen = np.asarray(rates, np.float64)
    return norm.ppf(np.where((seen > 0) & (seen < 1), seen, np.nan))


def _rates(figures: Mapping[str, Any]) -> list[dg.TableRecord]:
    records = []
    for part, of in figures.items():
        for title, kind, key, gain in (
            *((f"FNMR at FMR {key}", "fnmr", key, "fnmr" if key == FMR else "") for key in of["new"]["fnmr"]),
            *((f"FNIR at FPIR {FPIR}, gallery {key}", "fnir", key, f"fnir_{key}") for key in of["new"]["fnir"]),
        ):
            new, live = (of[model][kind][key] if of[model] else None for model in ("new", "live"))
            better = (of["gain"] or {}).get(gain)
            records.append(
                dg.TableRecord(
                    {
                        "part": part,
                        "rate": title,
                        "new": _percent(new),
                        "live": _percent(live),
                        "gain": points(better) if better else "",
                    }
                )
            )
        eer = {
            model: f"{of[model]['eer']:.3%}" if of[model] and of[model]["eer"] is not None else "" for model in _MODELS
        }
        records.append(dg.TableRecord({"part": part, "rate": "EER", **eer, "gain": ""}))
    return records


def _percent(rate: Mapping[str, float] | None) -> str:
    if rate is None:
        return "too few comparisons"
    return f"{rate['value']:.3%} ({rate['low']:.3%} to {rate['high']:.3%})"


def _groups(figures: Mapping[str, Any]) -> list[dg.TableRecord]:
    records = []
    for part, of in figures.items():
        for row in of["groups"]:
            told: dict[str, str | int] = {"part": part, "group": row["group"], "people": row["people"]}
            for model in _MODELS:
                for kind in ("fnmr", "fmr"):
                    rate = (row.get(model) or {}).get(kind)
                    told[f"{model}_{kind}"] = "too few" if rate is None else f"{rate:.4%}"
            records.append(dg.TableRecord(told))
    return records


_MODELS = ("new", "live")
