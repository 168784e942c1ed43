"""XSimGCL: the BPR loss on noisy vectors, and a contrast between two layers of the same noisy propagation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn.functional import normalize, pad

from model import LightGCN, spmm
from runtime.distributed import SumOverProcesses
from training.bpr import bpr_of, sample_triples
from training.softmax import LogSumExp
from training.steps import Batches, Drop, chosen, weights_of


class NoisyPropagation(torch.autograd.Function):
    """Rows of a propagation with noise, of one of its layers, and of X.

    With H_0 = X and H_k = A H_(k-1) + noise_k, the first is the mean of all H_k, or of all but H_0, the second H_layer.
    The noise is a constant to the gradient, which is therefore that of the propagation without it: A is symmetric, so
    the gradients of both outputs go back in K products, and no layer is kept.
    """

    @staticmethod
    def forward(
        ctx,
        x: torch.Tensor,
        norm_adj: torch.Tensor,
        num_layers: int,
        input_layer: bool,
        layer: int,
        add_noise: Callable[[torch.Tensor], torch.Tensor],
        rows: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the rows (n, D) of the mean of the layers, of one layer, and of X."""
        ctx.constants = norm_adj, num_layers, input_layer, layer, rows
        h, total = x, x * input_layer
        for k in range(1, num_layers + 1):
            h = add_noise(spmm(norm_adj, h))  # (N, D)
            total += h
            if k == layer:
                of_layer = h.index_select(0, rows)  # (n, D)
        return total.index_select(0, rows) / (num_layers + input_layer), of_layer, x.index_select(0, rows)

    @staticmethod
    def backward(
        ctx, grad: torch.Tensor, grad_layer: torch.Tensor, grad_x: torch.Tensor
    ) -> tuple[torch.Tensor, None, None, None, None, None, None]:
        """Return the gradient of X, (N, D)."""
        norm_adj, num_layers, input_layer, layer, rows = ctx.constants
        share = grad / (num_layers + input_layer)
        h = grad.new_zeros(norm_adj.shape[0], grad.shape[1])  # (N, D)
        for k in range(num_layers, 0, -1):
            h.index_add_(0, rows, share)
            if k == layer:
                h.index_add_(0, rows, grad_layer)
            h = spmm(norm_adj, h)
        return h.index_add_(0, rows, grad_x + share * input_layer), None, None, None, None, None, None


def xsimgcl_loss(
    model: LightGCN,
    nodes: torch.Tensor,
    places: torch.Tensor,
    n_contrasted: tuple[int, int],
    weights: torch.Tensor | None,
    seed: int,
    config: dict[str, Any],
    drop: Drop | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the XSimGCL loss of a batch of triples, and the L2 penalty of bpr_loss.

    Args:
        nodes: (n,) the batch's nodes, each once: its users, the items of its pairs, and the other negatives.
        places: (3B,) where in nodes the users, the positives and the negatives of the triples stand.
        n_contrasted: how many users, and how many items of pairs, stand first in nodes.
        weights: (B,) what each of the triples counts in the BPR loss; None if all count one.
        seed: of the noise.
        config: noise is the length of what is added to every vector in every layer, cl_layer the layer that is
            contrasted with the mean of all of them, cl_temperature what the cosines are divided by, and cl_weight
            what the contrast counts; reg_lambda as in bpr_loss.
        drop: as in bpr_loss. The contrast is between id vectors, before text joins them, of all titles.

    Returns:
        The BPR loss of the noisy vectors plus cl_weight times the contrast, and the penalty; two scalars.

    Source:
        Yu et al. 2023, XSimGCL, arXiv 2209.02544, and its authors' code, https://github.com/Coder-Yu/SELFRec, where
        input_layer is false. The penalty is LightGCN's.
    """
    how = model.norm_adj, model.num_layers, model.input_layer, config["cl_layer"]
    mean, layer, id_rows = NoisyPropagation.apply(
        model.id_emb, *how, _noise(model, config["noise"], seed), nodes
    )  # (n, D) each
    final = model.final_vectors(mean, nodes, chosen(drop, nodes))  # (n, D)
    contrasted = sum(n_contrasted)
    one, other = _whole(model, torch.stack([mean[:contrasted], layer[:contrasted]]))
    parts = zip(one.split(n_contrasted), other.split(n_contrasted), strict=True)
    contrast = sum(info_nce(*views, config["cl_temperature"]) for views in parts)
    penalty = id_rows.square().sum(dim=1)[places].sum() / (2 * len(places) / 3)
    return bpr_of(final, places, weights) + config["cl_weight"] * contrast, config["reg_lambda"] * penalty


def info_nce(one: torch.Tensor, other: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the mean of -log softmax, over the rows of other, of each row's cosine with its own counterpart.

    Args:
        one, other: (n, D) two views of the same nodes.
        temperature: what the cosines are divided by.

    Source:
        van den Oord et al. 2018, arXiv 1807.03748, with cosines.
    """
    one, other = normalize(one) / temperature, normalize(other)
    return (LogSumExp.apply(one, other) - (one * other).sum(dim=1)).mean()


def _noise(model: LightGCN, length: float, seed: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what adds random vectors of that length to a layer (N, D), in place, each in the orthant of its row.

    Every process draws all columns, so that the vectors are the same whatever the number of processes.
    """
    generator = torch.Generator(model.id_emb.device).manual_seed(seed)

    def add(h: torch.Tensor) -> torch.Tensor:
        drawn = torch.rand(len(h), model.embedding_dim, generator=generator, device=h.device, dtype=h.dtype)
        return h.addcmul_(h.sign(), normalize(drawn)[:, model.columns], value=length)

    return add


def _whole(model: LightGCN, part: torch.Tensor) -> torch.Tensor:
    """Put this process's columns of vectors together with those of the others."""
    if part.shape[-1] < model.embedding_dim:
        part = pad(part, (model.columns.start, model.embedding_dim - model.columns.stop))
    return SumOverProcesses.apply(part)


def xsimgcl_batches(
    train: sp.csr_matrix, config: dict[str, Any], rng: np.random.Generator, device: torch.device
) -> Batches:
    """Draw the triples of bpr and part them; which nodes a batch has is found here, so that no step waits for it."""
    triples = np.stack(sample_triples(train, rng))  # (3, n)
    weights = weights_of(train, *triples[:2])
    place = np.zeros(train.shape[1], np.int64)
    batches = []
    for start in range(0, triples.shape[1], config["batch_size"]):
        users, positives, negatives = triples[:, start : start + config["batch_size"]]
        (mine, of_users), liked = np.unique(users, return_inverse=True), np.unique(positives)
        items = np.concatenate([liked, np.setdiff1d(negatives, liked)])
        place[items] = len(mine) + np.arange(len(items))
        nodes = np.concatenate([mine, items + train.shape[0]])
        places = np.concatenate([of_users, place[positives], place[negatives]])  # (3B,)
        on_device = (torch.from_numpy(part).to(device) for part in (nodes, places))
        counted = None if weights is None else torch.from_numpy(weights[start : start + len(users)]).to(device)
        seed = int(rng.integers(2**62))
        batches.append(((*on_device, (len(mine), len(liked)), counted, seed), len(users)))
    return xsimgcl_loss, batches
