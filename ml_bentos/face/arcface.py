"""ArcFace (Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition")."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ml_bentos.face.network import Upper


class Taught(nn.Module):
    """The upper part and a direction for each person taught with."""

    def __init__(self, upper: Upper, directions: Tensor) -> None:
        super().__init__()
        self.upper = upper
        self.directions = nn.Parameter(directions)

    def loss(self, cut: Tensor, people: Tensor, margin: float, scale: float) -> Tensor:
        """ArcFace's, of activations float[n, 512, 7, 7] of the people int64[n].

        margin: in radians, which a photo must be nearer to its own direction by. scale: what cosines are multiplied by before
        the softmax.
        """
        cosines = functional.normalize(self.upper(cut)) @ functional.normalize(self.directions).T
        own = cosines.gather(1, people[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        harder = torch.cos(torch.acos(own) + margin)
        # Beyond pi - margin the cosine would rise again: there it is made harder by a constant, as in ArcFace's own code.
        harder = torch.where(own > math.cos(math.pi - margin), harder, own - margin * math.sin(math.pi - margin))
        return functional.cross_entropy(scale * cosines.scatter(1, people[:, None], harder), people)
