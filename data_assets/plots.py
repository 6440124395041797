"""Figures as pictures in the metadata of an asset, where the Dagster UI shows them."""

import base64
import io
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(width: float = 6.0, height: float = 4.0) -> "Figure":
    """An empty figure (inches). Not by pyplot, which keeps every figure and wants a main thread."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(drawn: "Figure", title: str) -> dg.MarkdownMetadataValue:
    """A figure as a picture within Markdown (PNG, base64): no file to serve or to lose."""
    written = io.BytesIO()
    drawn.savefig(written, format="png", dpi=90)
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(written.getvalue()).decode()})")
