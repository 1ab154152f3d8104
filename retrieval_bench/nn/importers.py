"""State dicts of public retrieval toolboxes, brought to the key names of torchvision's networks.

The siaMAC and GeM toolbox (cnnimageretrieval-pytorch) keeps a ResNet's children, without its last two, and a VGG's
layers, without the last pooling, in one sequence: ``features.0.weight``, ``features.4.0.conv1.weight``. Its fine-tuned
files are ``{"meta", "state_dict"}`` and add ``pool.p`` (GeM's exponent), ``pool.whiten.*`` (of regions) and
``whiten.*`` (of the descriptor); its converted Caffe networks are the bare sequence: ``0.weight``.

Deep Image Retrieval (dirtorch) keeps torchvision's names, under ``module.`` where it was trained on several GPUs, and
adds ``adpool.p`` and ``fc.*``, the learned projection of the descriptor in the place of the classifier.

Our own checkpoints keep torchvision's names under ``backbone.trunk.``; all else in them is not the trunk.
"""

import re
from collections.abc import Mapping, Set

from torch import Tensor, nn

_OURS = "backbone.trunk."
# In the order of a ResNet's children; relu and maxpool hold no weights.
_RESNET_CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
_AGGREGATION = re.compile(r"(pool|adpool|whiten|lwhiten)\.")
_SEQUENCE = re.compile(r"(?:features\.)?(\d+)\.(.+)")


def torchvision_names(state: Mapping[str, Tensor], like: nn.Module) -> dict[str, Tensor]:
    """The trunk's weights under torchvision's names; a state dict that has them already comes back unchanged.

    Args:
        state: A state dict of torchvision, of one of the toolboxes above, or of a checkpoint of ours.
        like: torchvision's network, which says what a place in a sequence is.

    Returns:
        The state dict without pooling, whitening and heads of ours. Keys of no known kind keep their names.
    """
    if ours := {key.removeprefix(_OURS): value for key, value in state.items() if key.startswith(_OURS)}:
        return ours
    known = frozenset(like.state_dict())
    names = {key: key.removeprefix("module.") for key in state}
    return {_trunk_name(name, known): state[key] for key, name in names.items() if not _AGGREGATION.match(name)}


def _trunk_name(name: str, known: Set[str]) -> str:
    in_sequence = None if name in known else _SEQUENCE.fullmatch(name)
    if in_sequence is None:
        return name
    place, rest = int(in_sequence[1]), in_sequence[2]
    if any(key.startswith("features.") for key in known):
        return f"features.{place}.{rest}"
    return f"{_RESNET_CHILDREN[place]}.{rest}" if place < len(_RESNET_CHILDREN) else name
