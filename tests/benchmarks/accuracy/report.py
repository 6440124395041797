"""How the accuracy at the gate is told."""

from typing import Any

from matplotlib.figure import Figure

Rows = list[dict[str, Any]]
MARKS = {"ours": "o-", "dlib": "s--"}


def percent(rate: dict[str, Any] | float) -> str:
    """As 99.81 [99.6, 99.9], or as 0.31, in per cent."""
    if isinstance(rate, float):
        return f"{100 * rate:.2f}"
    if rate["value"] is None:
        return "-"
    return f"{100 * rate['value']:.2f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def tables(result: dict[str, Any]) -> list[tuple[str, Rows]]:
    """All rates in per cent, with their 95 % intervals."""
    middle = f"{result['middle']:,}"
    gallery = [
        {
            "system": row["system"],
            "gallery": row["gallery"],
            "of them nobody": row["nobody"],
            "photos of a member": f"{row['photos']}+",
            "TPIR % at FPIR 0.3 %": percent(row["tpir_at_fpir_0.003"]),
            "at FPIR 1 %": percent(row["tpir_at_fpir_0.01"]),
            "at its threshold": percent(row["shipped"]["tpir"]),
            "FPIR % there": percent(row["shipped"]["fpir"]),
            "members": row["members"],
            "strangers": row["strangers"],
            "searches": row["mated"] + row["nonmated"],
        }
        for row in result["by_gallery"]
    ]
    enrolled = [
        {
            "photos enrolled": row["enrolled"],
            **{
                f"{name}, TPIR % at FPIR {fpir}": percent(row[name][key])
                for name in ("ours", "dlib")
                for fpir, key in (("0.3 %", "tpir_at_fpir_0.003"), ("1 %", "tpir_at_fpir_0.01"))
            },
        }
        for row in result["by_enrolled"]
    ]
    quality = [
        {
            "measure": row["measure"],
            "from": "" if row["from"] is None else f"{row['from']:.0f}",
            "to": "" if row["to"] is None else f"{row['to']:.0f}",
            "ours, TPIR %": percent(row["ours"]),
            "dlib, TPIR %": percent(row["dlib"]),
            "searches": row["ours"]["searches"],
        }
        for row in result["by_quality"]
    ]
    degraded = [
        {
            "picture": row["way"],
            "ours, TPIR %": percent(row["ours"]),
            "dlib, TPIR %": percent(row["dlib"]),
            "gate asks for another, %": percent(row["asked_again"]),
            "ours, of those it takes": percent(row["ours_of_those_taken"]),
        }
        for row in result["degraded"]
    ]
    frames = [
        {
            "photos enrolled": row["enrolled"],
            "frames": row["frames"],
            "let in, %": percent(row["tpir"]),
            "asked again, %": percent(row["asked_again"]),
            "refused, %": percent(row["refused"]),
            "as somebody else, %": percent(row["wrong"]),
            "strangers let in, %": percent(row["fpir"]),
            "strangers asked again, %": percent(row["stranger_asked_again"]),
            "visits": row["visits"],
            "of strangers": row["stranger_visits"],
        }
        for row in result["frames"]
    ]
    lacking = result["no_face"]
    head = (
        f"{result['photos']:,} photos of {result['people']:,} people, {result['draws']} draws; no face found: "
        f"{lacking['ours']} by ours, {lacking['dlib']} by dlib"
    )
    return [
        (head, gallery),
        (f"By photos enrolled: gallery of {middle} real people, the same members and probes in each row", enrolled),
        (f"By quality of the picture at the gate, as the gate measures it: 2+ photos, gallery of {middle}, FPIR 0.3 %", quality),
        (f"The same {result['degraded_probes']} pictures spoilt: 4+ photos, gallery of {middle}, the threshold of FPIR 0.3 %", degraded),
        (f"One frame against three, by the gate's recogniser at its threshold, gallery of {middle}", frames),
    ]  # fmt: skip


def plots(result: dict[str, Any]) -> dict[str, Figure]:
    """DET curves, and TPIR by photos enrolled."""
    return {"det": _det(result), "enrolled": _enrolled(result)}


def _det(result: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(6.4, 4.6))
    axes = figure.subplots()
    for least, colour in ((4, "tab:blue"), (2, "tab:orange")):
        for name, style in (("ours", "-"), ("dlib", "--")):
            curve = result["det"][f"{name}_{least}"]
            fnir = [100 * rate or None for rate in curve["fnir"]]
            axes.plot(
                [100 * rate for rate in curve["fpir"]], fnir, style, color=colour, label=f"{name}, {least}+ photos"
            )
    axes.axvline(0.3, color="grey", linestyle=":", linewidth=1)
    axes.set(
        xscale="log", yscale="log", xlabel="FPIR, % of strangers let in", ylabel="FNIR, % of members not recognised"
    )
    # Of few people no error may be left to draw, and an axis of logarithms has no nought.
    axes.set(xlim=(0.05, 100), ylim=(0.05, 100))
    axes.set_title(f"Gallery of {result['middle']:,} real people")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _enrolled(result: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(6.4, 4.2))
    axes = figure.subplots()
    rows = result["by_enrolled"]
    at = [row["enrolled"] for row in rows]
    for name, mark in MARKS.items():
        rates = [row[name]["tpir_at_fpir_0.003"] for row in rows]
        value = [100 * rate["value"] for rate in rates]
        spread = [[100 * abs(rate["value"] - rate[end]) for rate in rates] for end in ("low", "high")]
        axes.errorbar(at, value, yerr=spread, fmt=mark, capsize=3, label=name)
    axes.set(xticks=at, xlabel="photos enrolled", ylabel="TPIR at FPIR 0.3 %, % (95 % interval)")
    axes.set_title(f"Gallery of {result['middle']:,} real people, the same members and pictures")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
