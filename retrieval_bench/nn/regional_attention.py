"""How much each region of a map counts: a small network that sees the region and the whole map (Kim and Yoon, 2018)."""

from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.regions import Region, mean_regions, picture_regions, rmac_regions
from retrieval_bench.nn.weights import WeightsError, read_checkpoint

AttentionInput = Literal["both", "region", "context"]
HiddenAct = Literal["tanh", "softplus"]
GridSpace = Literal["image", "map"]

# The two layers in the authors' release, one-dimensional convolutions over regions, and here.
_PUBLISHED = {"conv_att_1": "hidden", "conv_att_2": "out"}
_PREFIX = "attention."  # in checkpoints of our methods


class RegionAttention(nn.Module):
    """One positive weight a region, from the mean of its activations and the mean of the whole map.

    ``softplus(w2 . act(W1 [region; map] + b1) + b2)``: 262,273 parameters for maps of 2048 channels. The weights of a
    map's regions need not add up to anything.

    Args:
        channels: Of the map.
        hidden: Length of the vector between the two layers.
        sees: ``both`` means, only the ``region``'s, or only the ``context``, so that all regions count alike.
        hidden_act: ``tanh`` is what the released weights are tested with; the code that trains says ``softplus``.

    Raises:
        OptionError: If an option has none of its values.
    """

    def __init__(
        self, channels: int, hidden: int = 64, sees: AttentionInput = "both", hidden_act: HiddenAct = "tanh"
    ) -> None:
        super().__init__()
        for option, value, known in (("sees", sees, AttentionInput), ("hidden_act", hidden_act, HiddenAct)):
            if value not in get_args(known):
                raise OptionError(f"{option} cannot be {value!r}; it is one of {', '.join(get_args(known))}")
        self.sees, self.hidden_act = sees, hidden_act
        self.hidden = nn.Linear(channels * (2 if sees == "both" else 1), hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, maps: Tensor, regions: tuple[Region, ...]) -> Tensor:
        """Weights of the regions of maps.

        Args:
            maps: ``(B, C, H, W)`` float32.
            regions: R rectangles of cells.

        Returns:
            ``(B, R)``.
        """
        context = maps.mean((2, 3))[:, None]
        if self.sees == "context":
            hidden = self.hidden(context)
        elif self.sees == "region":
            hidden = self.hidden(mean_regions(maps, regions))
        else:
            # The map's half of the product is the same for all of its regions.
            of_region, of_context = self.hidden.weight.chunk(2, dim=1)
            hidden = F.linear(mean_regions(maps, regions), of_region) + F.linear(context, of_context, self.hidden.bias)
        act = torch.tanh if self.hidden_act == "tanh" else F.softplus
        weights: Tensor = F.softplus(self.out(act(hidden))).squeeze(-1)
        return weights.expand(-1, len(regions))


def attended_regions(
    picture: tuple[int, int], cells: tuple[int, int], stride: int, levels: int, space: GridSpace
) -> tuple[Region, ...]:
    """R-MAC's grid, laid on the picture or on its map.

    Args:
        picture: Height and width in pixels.
        cells: Height and width of the map.
        stride: Pixels between neighbouring cells.
        levels: How many sizes of squares.
        space: ``image``, as in the authors' code, or ``map``.

    Raises:
        OptionError: If there is no such space or no level.
    """
    if space not in get_args(GridSpace):
        raise OptionError(f"grid_space cannot be {space!r}; it is image or map")
    return picture_regions(picture, cells, stride, levels) if space == "image" else rmac_regions(*cells, levels)


def load_attention(attention: RegionAttention, path: Path) -> str:
    """Read trained weights into an attention.

    Args:
        attention: What to fill.
        path: The authors' file (``conv_att_1`` and ``conv_att_2``), or a checkpoint of our training.

    Returns:
        What they were learned from, in words.

    Raises:
        WeightsError: If the file is missing or damaged, or is of an attention of another kind.
    """
    if not path.is_file():
        raise WeightsError(
            f"there is no attention at {path.absolute()}; give the checkpoint of a training of it, the authors' file, "
            "or 'none'"
        )
    content = read_checkpoint(path)
    state = _weights(content)
    expected = attention.state_dict()
    if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in expected.items()}:
        found = ", ".join(f"{k} {tuple(v.shape)}" for k, v in state.items()) or "no attention"
        wanted = ", ".join(f"{k} {tuple(v.shape)}" for k, v in expected.items())
        raise WeightsError(f"{path} does not fit: it holds {found}; expected {wanted}. Is it of this trunk and `sees`?")
    attention.load_state_dict(state)
    return str(content.get("attention_learned_from", f"the file {path.name}"))


def _weights(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        return {}
    state = content.get("state_dict", content)
    if "conv_att_1.weight" not in state:
        return {key.removeprefix(_PREFIX): value for key, value in state.items() if key.startswith(_PREFIX)}
    parts = {
        f"{here}.{kind}": state[f"{there}.{kind}"]
        for there, here in _PUBLISHED.items()
        for kind in ("weight", "bias")
        if f"{there}.{kind}" in state
    }
    return {key: value.flatten(1) if key.endswith("weight") else value for key, value in parts.items()}
