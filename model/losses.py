"""The training loss: logit-adjusted cross entropy and the pull of class weights to class means."""

import torch
from torch import Tensor
from torch.nn import functional


def logit_adjusted_cross_entropy(logits: Tensor, labels: Tensor, log_prior: Tensor, tau: float) -> Tensor:
    """CE(logits + τ·log prior) (Menon et al. 2021); logits [B,K], labels [B], log_prior [K].

    Trained so, the plain logits are those of a world in which all classes are equally frequent. τ = 1 is
    the balanced softmax (Ren et al. 2020).
    """
    return functional.cross_entropy(logits + tau * log_prior, labels)


def weight_pull(weights: Tensor, memory: Tensor) -> Tensor:
    """mean_k (1 − cos(w_k, M_k)), both [K,D].

    Keeps a trained weight near its class mean: few images cannot bend it, and a weight hallucinated as a
    mean competes with its like.
    """
    return (1 - functional.cosine_similarity(weights, memory, dim=1)).mean()


def log_prior(labels: Tensor, classes: int) -> Tensor:
    """Log share of each class among the labels, [K]; every class has at least one."""
    counts = torch.bincount(labels, minlength=classes).float()
    return torch.log(counts / counts.sum())
