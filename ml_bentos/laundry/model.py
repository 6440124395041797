"""The judge: the network, and a head for each kind of task it was taught. Immutable once made, so threads may share it."""

from collections.abc import Mapping

import numpy as np

from ml_bentos.laundry.backbone import Backbone
from ml_bentos.laundry.head import Head, Judgement
from ml_bentos.laundry.preprocessing import Image

NO_MODEL = Judgement("unclear", 0.0, "no_model")
"""The verdict where nothing has been learnt yet: a person decides."""


class LaundryModel:
    """One version of the judge."""

    def __init__(self, version: str, backbone: Backbone, heads: Mapping[str, Head]) -> None:
        self.version = version
        self.backbone = backbone
        self.heads = dict(heads)

    @property
    def kinds(self) -> list[str]:
        """The kinds of task it was taught."""
        return sorted(self.heads)

    def judge(self, kind: str, bgr: Image) -> Judgement:
        """The verdict on a photo (uint8[h, w, 3] BGR) of a task of `kind`."""
        head = self.heads.get(kind)
        if head is None:
            return Judgement("unclear", 0.0, "kind_not_taught")
        return head.judge(self.backbone.features(bgr))

    def warm_up(self) -> None:
        """Let everything be allocated and compiled before the first photo comes."""
        for _ in range(2):
            for kind in self.heads:
                self.judge(kind, np.full((480, 640, 3), 127, np.uint8))
