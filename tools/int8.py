"""A model's weights in eight bits, where memory is short. To be imported late: torch is slow to load."""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def quantised(model: "PreTrainedModel") -> "PreTrainedModel":
    """The model with every linear layer but the last kept as int8, one scale for each of its outputs, rounded to the
    nearest. Weight-only: what is computed with them is computed as before, on a CPU and on a GPU alike."""
    last = model.get_output_embeddings()
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and layer is not last:
            model.set_submodule(name, Rounded(layer))
    return model


class Rounded(nn.Module):
    """A linear layer whose weights are whole numbers from -127 to 127, times the scale of their row."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scale = (weight.abs().amax(1, keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        self.register_buffer("weight", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale.squeeze(1).to(layer.weight.dtype))
        self.bias = layer.bias

    def forward(self, x: Any) -> Any:
        said = nn.functional.linear(x, self.weight.to(x.dtype)) * self.scale
        return said if self.bias is None else said + self.bias
