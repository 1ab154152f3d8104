"""ImageNet networks from torchvision, cut at named taps, with the key names of their checkpoints kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.preprocessing import WeightsFamily
from retrieval_bench.nn.weights import load_state_dict, read_checkpoint

Tap = Literal["stride4", "stride8", "stride16", "last", "last_at_16", "pool5"]


@dataclass(frozen=True)
class TapPoint:
    """A module whose output is taken.

    Attributes:
        module: Its name in torchvision's network.
        channels: Of its map.
        stride: Pixels of the picture between neighbouring cells.
    """

    module: str
    channels: int
    stride: int


# The deepest map of each stride, and VGG16's after its last pooling; last_at_16 is the last one with its stage dilated
# instead of strided. All follow a ReLU, so maps are never negative: MobileNetV2's blocks end in a linear layer, hence
# the expansions behind them (the taps that SSDLite reads too).
TAPS: dict[str, dict[Tap, TapPoint]] = {
    "vgg16": {
        "stride4": TapPoint("features.15", 256, 4),  # conv3_3
        "stride8": TapPoint("features.22", 512, 8),  # conv4_3
        "stride16": TapPoint("features.29", 512, 16),  # conv5_3
        "last": TapPoint("features.29", 512, 16),
        "last_at_16": TapPoint("features.29", 512, 16),
        "pool5": TapPoint("features.30", 512, 32),
    },
    "resnet18": {
        "stride4": TapPoint("layer1", 64, 4),
        "stride8": TapPoint("layer2", 128, 8),
        "stride16": TapPoint("layer3", 256, 16),
        "last": TapPoint("layer4", 512, 32),
        "last_at_16": TapPoint("layer4", 512, 16),
    },
    **{
        name: {
            "stride4": TapPoint("layer1", 256, 4),
            "stride8": TapPoint("layer2", 512, 8),
            "stride16": TapPoint("layer3", 1024, 16),
            "last": TapPoint("layer4", 2048, 32),
            "last_at_16": TapPoint("layer4", 2048, 16),
        }
        for name in ("resnet50", "resnet101")
    },
    "mobilenet_v2": {
        "stride4": TapPoint("features.4.conv.0", 144, 4),
        "stride8": TapPoint("features.7.conv.0", 192, 8),
        "stride16": TapPoint("features.14.conv.0", 576, 16),
        "last": TapPoint("features.18", 1280, 32),
        "last_at_16": TapPoint("features.18", 1280, 16),
    },
    "squeezenet1_0": {
        "stride4": TapPoint("features.5", 256, 4),
        "stride8": TapPoint("features.10", 512, 8),
        "stride16": TapPoint("features.12", 512, 16),
        "last": TapPoint("features.12", 512, 16),
        "last_at_16": TapPoint("features.12", 512, 16),
    },
}
# Where the first two groups of convolutions are, which detectors do not train (Fast R-CNN, section 4.5).
_FIRST_GROUPS: dict[str, tuple[str, ...]] = {
    "vgg16": ("features.0.", "features.2.", "features.5.", "features.7."),
    **dict.fromkeys(("resnet18", "resnet50", "resnet101"), ("conv1.", "layer1.")),
    "mobilenet_v2": ("features.0.", "features.1.", "features.2.", "features.3."),
    "squeezenet1_0": ("features.0.", "features.3.", "features.4.", "features.5."),
}


class Backbone(nn.Module):
    """A trunk that returns the maps at its taps; what lies behind the last tap is not built.

    Args:
        name: A network of ``TAPS``.
        taps: Which maps to return.
        weights: ``imagenet`` (torchvision's published file), ``none`` (random), or the path of a checkpoint, see
            ``load_state_dict``.
        family: ``caffe`` changes the graph of ResNets as well: the stride of a stage sits in its first 1x1 convolution,
            and the stem's max-pool has no padding and rounds up.
        freeze_batch_norm: Whether batch norms keep their statistics while the trunk is trained.

    Raises:
        OptionError: If the network, one of the taps or the family is not known, or two taps are one map at two strides.
        WeightsError: If the weights are not at hand or do not fit.
    """

    def __init__(
        self,
        name: str,
        taps: Sequence[Tap],
        *,
        weights: str = "imagenet",
        family: WeightsFamily = "torchvision",
        freeze_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if name not in TAPS:
            raise OptionError(f"unknown backbone {name!r}; known are {', '.join(TAPS)}")
        if missing := [tap for tap in taps if tap not in TAPS[name]]:
            raise OptionError(f"{name} has no tap {missing[0]!r}; it has {', '.join(TAPS[name])}")
        network = models.get_model(name, weights=None, **({"init_weights": True} if name == "vgg16" else {}))
        if family == "caffe":
            _to_caffe_graph(network, name)
        self.name = name
        self.points = {tap: TAPS[name][tap] for tap in taps}
        modules = dict.fromkeys(point.module for point in self.points.values())
        if len({(point.module, point.stride) for point in self.points.values()}) > len(modules):
            raise OptionError(f"last and last_at_16 of {name} are one map at two strides: ask for one of them")
        if "last_at_16" in taps:
            _dilate_last_stage(network, name)
        self.trunk = create_feature_extractor(network, {module: module for module in modules})
        if weights != "none":
            state = load_state_dict(name, weights, family, like=network)
            built = self.trunk.state_dict().keys()
            self.trunk.load_state_dict({key: value for key, value in state.items() if key in built})
        # Convolutions read channels last: a third faster on CPUs, and what tensor cores want.
        self.to(memory_format=torch.channels_last)
        self.freeze_batch_norm = freeze_batch_norm
        self.train()  # Lightning trains a network in the mode it finds it in: frozen batch norms must be so already

    def train(self, mode: bool = True) -> "Backbone":
        """Training mode, in which batch norms may stay frozen."""
        super().train(mode)
        if mode and self.freeze_batch_norm:
            for module in self.trunk.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def channels(self, tap: Tap) -> int:
        """Number of channels of a tap's map."""
        return self.points[tap].channels

    def stride(self, tap: Tap) -> int:
        """Pixels of the picture between neighbouring cells of a tap's map."""
        return self.points[tap].stride

    def train_last_groups(self) -> None:
        """Let gradients reach all but the first two groups of convolutions, and batch norms."""
        for name, parameter in self.trunk.named_parameters():
            parameter.requires_grad_(not name.startswith(_FIRST_GROUPS[self.name]))
        for module in self.trunk.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)

    def forward(self, image: Tensor) -> dict[Tap, Tensor]:
        """Maps at the taps.

        Args:
            image: ``(B, 3, H, W)`` normalised.

        Returns:
            For each tap ``(B, C, H / stride, W / stride)``.
        """
        maps = self.trunk(image.contiguous(memory_format=torch.channels_last))
        return {tap: maps[point.module] for tap, point in self.points.items()}


def _to_caffe_graph(network: nn.Module, name: str) -> None:
    if name == "vgg16":
        return  # the same graph in both
    if name not in {"resnet50", "resnet101"}:
        raise OptionError(f"{name} was never released for Caffe; set weights_family to torchvision")
    network.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=0, ceil_mode=True)
    for stage in ("layer2", "layer3", "layer4"):
        first: Any = network.get_submodule(f"{stage}.0")
        first.conv1.stride, first.conv2.stride = (2, 2), (1, 1)


def _dilate_last_stage(network: nn.Module, name: str) -> None:
    """Leave out the stride of the last stage; what follows in it looks twice as far, so that it sees what it saw."""
    if name.startswith("resnet"):
        stage = [network.get_submodule("layer4")]
    elif name == "mobilenet_v2":
        stage = list(network.get_submodule("features").children())[14:]
    else:
        return  # the last map has stride 16 anyway
    strided = False
    for module in (module for part in stage for module in part.modules()):
        if not isinstance(module, nn.Conv2d):
            continue
        if strided and module.kernel_size == (3, 3):
            module.dilation = module.padding = (2, 2)
        if module.stride == (2, 2):
            module.stride, strided = (1, 1), True


def origin(weights: str) -> str:
    """Where a trunk's weights come from, in words.

    Args:
        weights: See ``Backbone``; of a checkpoint of ours, what it says itself.

    Raises:
        WeightsError: If the file is damaged.
    """
    words = {"imagenet": "a trunk trained with ImageNet's labels", "none": "a trunk of random weights"}
    if weights in words:
        return words[weights]
    content = read_checkpoint(Path(weights))
    learned_from = content.get("learned_from") if isinstance(content, dict) else None  # checkpoints of ours know it
    return f"a trunk trained on {learned_from}" if learned_from else f"a trunk of weights from {Path(weights).name}"
