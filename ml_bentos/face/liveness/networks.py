"""The two networks of passive liveness: MiniFASNetV2 and MiniFASNetV1SE.

Why two: they look at the same face with different amounts of surroundings (2.7 and 4.0 times the face box), and their mean
is steadier than either. Both are MobileFaceNet bodies (Chen et al. 2018, arXiv:1804.07573) with pruned widths, as published
by Minivision's Silent-Face-Anti-Spoofing (Apache-2.0); V1SE adds squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507)
to the last block of each residual stage. Written from the papers and the tensor names of the published weights, so that
those load with `strict=True`. No weights come with the product: the operator adds them (`passive.add_weights`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

INPUT_SIZE = 80  # px, both sides
CLASSES = 3  # 0: printed or shown flat, 1: a real face, 2: other presentation attacks
REAL_CLASS = 1


@dataclass(frozen=True)
class Architecture:
    """One pruned configuration.

    `conv_3`, `conv_4`, `conv_5` are the expanded widths of the residual blocks of each stage; the widths between the stages
    (32, 64, 128, 128, 512) and of the three strided blocks (103, 231, 308) are common to both networks.
    `crop_scale`: side of the crop as a multiple of the face box the network was trained with.
    """

    name: str
    crop_scale: float
    conv_3: tuple[int, ...]
    conv_4: tuple[int, ...]
    conv_5: tuple[int, ...]
    squeeze_excitation: bool


MINIFASNET_V2 = Architecture(
    "MiniFASNetV2",
    2.7,
    conv_3=(13, 13, 13, 13),
    conv_4=(231, 52, 26, 77, 26, 26),
    conv_5=(26, 26),
    squeeze_excitation=False,
)
MINIFASNET_V1SE = Architecture(
    "MiniFASNetV1SE",
    4.0,
    conv_3=(13, 26, 13, 52),
    conv_4=(154, 52, 26, 52, 26, 26),
    conv_5=(26, 26),
    squeeze_excitation=True,
)
ARCHITECTURES = (MINIFASNET_V2, MINIFASNET_V1SE)


class ConvBlock(nn.Module):
    """Convolution without bias, batch norm, and (unless `linear`) a PReLU for each channel."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = None if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        if self.prelu is not None:
            x = self.prelu(x)
        return x


class SqueezeExcitation(nn.Module):
    """Weights each channel by a gate computed from the means of all channels (reduction 4)."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels // reduction)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = x.mean((2, 3), keepdim=True)
        gate = torch.relu(self.bn1(self.fc1(gate)))
        return x * torch.sigmoid(self.bn2(self.fc2(gate)))


class DepthWise(nn.Module):
    """Inverted bottleneck: 1x1 expansion, 3x3 depthwise, 1x1 linear projection; with a shortcut when `residual`."""

    def __init__(
        self,
        inputs: int,
        width: int,
        outputs: int,
        stride: int,
        residual: bool = False,
        squeeze_excitation: bool = False,
    ) -> None:
        super().__init__()
        self.conv = ConvBlock(inputs, width)
        self.conv_dw = ConvBlock(width, width, 3, stride, 1, groups=width)
        self.project = ConvBlock(width, outputs, linear=True)
        self.se_module = SqueezeExcitation(outputs) if squeeze_excitation else None
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.conv_dw(self.conv(x)))
        if self.se_module is not None:
            y = self.se_module(y)
        return x + y if self.residual else y


class Residual(nn.Module):
    """A stage of residual blocks of constant width; squeeze-and-excitation in the last one only."""

    def __init__(self, channels: int, widths: tuple[int, ...], squeeze_excitation: bool) -> None:
        super().__init__()
        last = len(widths) - 1
        self.model = nn.Sequential(
            *(
                DepthWise(
                    channels, width, channels, 1, residual=True, squeeze_excitation=squeeze_excitation and i == last
                )
                for i, width in enumerate(widths)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.model(x)
        return y


class MiniFASNet(nn.Module):
    """float32 [n,3,80,80] BGR 0..255 -> logits float32 [n,3]; see `REAL_CLASS`."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        se = architecture.squeeze_excitation
        self.conv1 = ConvBlock(3, 32, 3, 2, 1)
        self.conv2_dw = ConvBlock(32, 32, 3, 1, 1, groups=32)
        self.conv_23 = DepthWise(32, 103, 64, 2)
        self.conv_3 = Residual(64, architecture.conv_3, se)
        self.conv_34 = DepthWise(64, 231, 128, 2)
        self.conv_4 = Residual(128, architecture.conv_4, se)
        self.conv_45 = DepthWise(128, 308, 128, 2)
        self.conv_5 = Residual(128, architecture.conv_5, se)
        self.conv_6_sep = ConvBlock(128, 512)
        # 5 x 5 px are left of 80 x 80 after four strides
        self.conv_6_dw = ConvBlock(512, 512, 5, groups=512, linear=True)
        self.linear = nn.Linear(512, 128, bias=False)
        self.bn = nn.BatchNorm1d(128)
        self.prob = nn.Linear(128, CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_23(self.conv2_dw(self.conv1(x)))
        x = self.conv_34(self.conv_3(x))
        x = self.conv_45(self.conv_4(x))
        x = self.conv_6_dw(self.conv_6_sep(self.conv_5(x)))
        logits: Tensor = self.prob(self.bn(self.linear(x.flatten(1))))
        return logits
