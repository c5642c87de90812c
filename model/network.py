"""The OLTR++ head as a torch module, for training. What it learns is used in numpy by ``recogniser``."""

import torch
from torch import Tensor, nn
from torch.nn import functional

INITIAL_SCALE = 16.0


class OLTRHead(nn.Module):
    """Memory, concept selector and cosine classifier over embeddings v (Eq. 2–5 and 10).

    m = softmax(T_hal·v)·M;  e = tanh(T_sel·v);  v' = v + e⊗m;  logits = s·cos(v', w).

    ``memory`` f32[K,D] holds the exact class means, fixed. The classifier starts from them; T_hal starts
    at random (from the means it trusts head classes), T_sel at zero, so the head starts as the nearest
    class mean. Reachability is applied at inference only: on fixed features training with it was no
    better, and it changes no arg-max.
    """

    memory: Tensor

    def __init__(self, memory: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        classes, dim = memory.shape
        self.register_buffer("memory", memory)
        self.weights = nn.Parameter(functional.normalize(memory, dim=1))
        bound = dim**-0.5
        self.hallucinators = nn.Parameter((torch.rand(classes, dim, generator=generator) * 2 - 1) * bound)
        self.selector_weight = nn.Parameter(torch.zeros(dim, dim))
        self.selector_bias = nn.Parameter(torch.zeros(dim))
        self.scale = nn.Parameter(torch.tensor(INITIAL_SCALE))

    def infuse(self, v: Tensor) -> Tensor:
        """v' [B,D] of embeddings [B,D]."""
        concepts = torch.softmax(functional.linear(v, self.hallucinators), dim=1) @ self.memory
        selector = torch.tanh(functional.linear(v, self.selector_weight, self.selector_bias))
        return v + selector * concepts

    def forward(self, v: Tensor) -> Tensor:
        """Logits [B,K] of embeddings [B,D]."""
        infused = functional.normalize(self.infuse(v), dim=1)
        return self.scale * functional.linear(infused, functional.normalize(self.weights, dim=1))
