"""The linear classifiers that ImageNet networks end with, apart from their trunks."""

from torch import nn

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.preprocessing import WeightsFamily
from retrieval_bench.nn.weights import WeightsError, read_checkpoint, weights_file

CLASSES = 1000
# Networks whose last map is averaged and then classified by one linear layer, and that layer's name.
_LAYERS = {"resnet18": "fc", "resnet50": "fc", "resnet101": "fc", "mobilenet_v2": "classifier.1"}


def imagenet_classifier(name: str, channels: int, *, weights: str, family: WeightsFamily) -> nn.Linear:
    """The layer from the averaged last map to the 1,000 classes of ImageNet, in the order of their synsets.

    Args:
        name: torchvision's name of the network.
        channels: Of its last map.
        weights: As for its trunk: ``imagenet``, the path of a checkpoint that holds the layer, or ``none`` (random).
        family: The family that the weights belong to.

    Raises:
        OptionError: If the network does not end so.
        WeightsError: If the weights are not at hand or the layer is not among them.
    """
    if name not in _LAYERS:
        raise OptionError(f"{name} has no linear classifier behind its last map; {', '.join(_LAYERS)} have")
    layer = nn.Linear(channels, CLASSES)
    if weights == "none":
        return layer
    path = weights_file(name, weights, family)
    content = read_checkpoint(path)
    state = content.get("state_dict", content)
    found = {kind: state.get(f"{_LAYERS[name]}.{kind}") for kind in ("weight", "bias")}
    if any(found[kind] is None or found[kind].shape != value.shape for kind, value in layer.state_dict().items()):
        raise WeightsError(
            f"{path} holds no {_LAYERS[name]}.weight of {CLASSES} x {channels} with its bias: "
            f"give {name}'s weights with ImageNet's classifier"
        )
    layer.load_state_dict(found)
    return layer
