"""SimpleX: the cosine contrastive loss, each pair against many random titles, and its batches."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn.functional import normalize

from model import LightGCN
from training.steps import MAX_SCORES, Batches, Drop, chosen, is_weighted, mean_of_pairs


def simplex_loss(
    model: LightGCN,
    user_ids: torch.Tensor,
    item_ids: torch.Tensor,
    places: torch.Tensor,
    weights: torch.Tensor | None,
    seed: int,
    config: dict[str, Any],
    drop: Drop | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the cosine contrastive loss of a batch of pairs, and the L2 penalty of their id vectors.

    Args:
        user_ids: (u,) row numbers of the batch's users.
        item_ids: (n,) row numbers of the catalogue.
        places: (2, B), for each of the pairs its place in user_ids and in item_ids.
        weights: (B,) what each of the pairs counts in the first term; None if all count one.
        seed: of the negatives, which are drawn from the whole catalogue, the user's own titles included.
        config: negatives is how many are drawn for a pair, margin the cosine below which one costs nothing, and
            negative_weight what their mean counts; reg_lambda is the weight of half the squared length of the id
            vectors, a pair.
        drop: as in bpr_loss.

    Returns:
        The mean over pairs of 1 - cos(user, item) + negative_weight * mean over negatives of
        max(0, cos(user, negative) - margin), and the penalty; two scalars.

    Source:
        Mao et al. 2021, SimpleX, arXiv 2109.12613, equation 1. What it gathers of a user's titles by a mean, the
        layers of the model gather; its dropout and gate are left out.
    """
    nodes = torch.cat([user_ids, item_ids + model.n_users])  # (u + n,)
    final, id_rows = model(nodes, chosen(drop, nodes))
    final, lengths = normalize(final), id_rows.square().sum(dim=1)
    users, catalogue = final[: len(user_ids)], final[len(user_ids) :]
    of_users, of_items = places
    liked = (users[of_users] * catalogue[of_items]).sum(dim=1)  # (B,)
    generator = torch.Generator(user_ids.device).manual_seed(seed)
    negatives = torch.randint(
        len(item_ids), (len(liked), config["negatives"]), generator=generator, device=user_ids.device
    )
    at_once = max(1, MAX_SCORES // len(item_ids))
    parts = zip(of_users.split(at_once), negatives.split(at_once), strict=True)
    disliked = torch.cat([(users[mine] @ catalogue.T).gather(1, drawn) for mine, drawn in parts])  # (B, negatives)
    loss = mean_of_pairs(1 - liked, weights) + config["negative_weight"] * (disliked - config["margin"]).relu().mean()
    penalty = (lengths[of_users] + lengths[len(user_ids) + of_items]).mean() / 2
    return loss, config["reg_lambda"] * penalty


def simplex_batches(
    train: sp.csr_matrix, config: dict[str, Any], rng: np.random.Generator, device: torch.device
) -> Batches:
    """Part the train pairs at random: (loss function, [((user_ids, item_ids, places, weights, seed), pairs), ...]).

    The catalogue is the items with a train pair: a new title is not a negative of anyone.
    """
    catalogue, of_items = np.unique(train.indices, return_inverse=True)
    users = np.repeat(np.arange(train.shape[0]), np.diff(train.indptr))
    order, items = rng.permutation(train.nnz), torch.from_numpy(catalogue.astype(np.int64)).to(device)
    batches, has_weights = [], is_weighted(train)
    for start in range(0, len(order), config["batch_size"]):
        pairs = order[start : start + config["batch_size"]]
        mine, of_users = np.unique(users[pairs], return_inverse=True)
        places = torch.from_numpy(np.stack([of_users, of_items[pairs]])).to(device)  # (2, B)
        weights = torch.from_numpy(train.data[pairs]).to(device) if has_weights else None
        seed = int(rng.integers(2**62))
        batches.append(((torch.from_numpy(mine).to(device), items, places, weights, seed), len(pairs)))
    return simplex_loss, batches
