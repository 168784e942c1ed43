"""The standard form of LightGCN, written plainly, to measure AGLRec against.

It does what the well-known public implementations do: a COO adjacency under autograd, the mean over stored
layers, the text of all nodes joined and projected in every step, negatives drawn pair by pair, metrics
computed user by user. Where those differ among themselves, it follows LightGCN's own published code.
"""

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn
from torch.nn.functional import softplus


class PlainLightGCN(nn.Module):
    """LightGCN, with text by concatenation if there is any; starts from the weights of a model.LightGCN.

    Args:
        norm_adj: (N, N) sparse COO, coalesced.
        n_users: how many of the N rows are users.
        num_layers: K.
        start: state dict of the model.LightGCN to start from.
        text: (N, L) or None; needs a start with fusion_mode "concat".
    """

    def __init__(
        self,
        norm_adj: torch.Tensor,
        n_users: int,
        num_layers: int,
        start: dict[str, torch.Tensor],
        text: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.norm_adj, self.n_users, self.num_layers, self.text = norm_adj, n_users, num_layers, text
        self.id_emb = nn.Parameter(start["id_emb"].clone())  # (N, D)
        if text is not None:
            self.weight = nn.Parameter(torch.cat([start["id_weight"], start["text_weight"]]))  # (D + L, D)
            self.bias = nn.Parameter(start["bias"].clone())

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return user_emb (n_users, D) and item_emb (n_items, D)."""
        h = self.id_emb
        if self.text is not None:
            h = torch.cat([h, self.text], dim=1) @ self.weight + self.bias  # (N, D + L) @ (D + L, D)
        layers = [h]
        for _ in range(self.num_layers):
            h = torch.sparse.mm(self.norm_adj, h)  # (N, D)
            layers.append(h)
        final = torch.stack(layers, dim=1).mean(dim=1)  # (N, K + 1, D) -> (N, D)
        return final[: self.n_users], final[self.n_users :]


def plain_loss(
    model: PlainLightGCN,
    user_ids: torch.Tensor,
    pos_items: torch.Tensor,
    neg_items: torch.Tensor,
    weights: None,
    config: dict[str, Any],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the BPR loss of a batch and its L2 penalty; the same quantities as bpr.bpr_loss without weights."""
    user_emb, item_emb = model()
    users, positives, negatives = user_emb[user_ids], item_emb[pos_items], item_emb[neg_items]  # (B, D) each
    nodes = torch.cat([user_ids, pos_items + model.n_users, neg_items + model.n_users])  # (3B,)
    penalty = model.id_emb[nodes].square().sum() / (2 * len(user_ids))
    loss = softplus((users * negatives).sum(dim=1) - (users * positives).sum(dim=1)).mean()
    return loss, config["reg_lambda"] * penalty


def plain_adjacency(train: sp.csr_matrix) -> torch.Tensor:
    """Build the normalised adjacency by way of dok and lil matrices: COO (N, N) float32, coalesced."""
    n_users, n_items = train.shape
    adjacency = sp.dok_matrix((n_users + n_items, n_users + n_items), dtype=np.float32).tolil()
    block = train.tolil()
    adjacency[:n_users, n_users:] = block
    adjacency[n_users:, :n_users] = block.T
    adjacency = adjacency.todok()
    degrees = np.asarray(adjacency.sum(axis=1)).ravel()
    scale = np.divide(1, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0)
    normalised = sp.diags(scale).dot(adjacency).dot(sp.diags(scale)).tocoo().astype(np.float32)
    place = torch.from_numpy(np.stack([normalised.row, normalised.col]).astype(np.int64))
    return torch.sparse_coo_tensor(
        place, torch.from_numpy(normalised.data), normalised.shape, check_invariants=False
    ).coalesce()


def user_sets(train: sp.csr_matrix) -> list[set[int]]:
    """Return the set of items of each user."""
    return [set(items.tolist()) for items in np.split(train.indices, train.indptr[1:-1])]


def plain_sample(
    train: sp.csr_matrix, collected: list[set[int]], pairs: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw BPR triples pair by pair: each of these train pairs with an item its user has not.

    Args:
        train: CSR (n_users, n_items).
        collected: as from user_sets; a user with every item would never come to an end.
        pairs: (n,) positions in train.indices, for an epoch all of them in random order.
        rng: the random source.

    Returns:
        user_ids, pos_items, neg_items: (n,) int64.
    """
    users = (np.searchsorted(train.indptr, pairs, side="right") - 1).tolist()
    triples = []
    for user, positive in zip(users, train.indices[pairs].tolist(), strict=True):
        negative = int(rng.integers(train.shape[1]))
        while negative in collected[user]:
            negative = int(rng.integers(train.shape[1]))
        triples.append((user, positive, negative))
    columns = np.array(triples, np.int64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2]


def plain_evaluate(
    user_emb: torch.Tensor,
    item_emb: torch.Tensor,
    user_ids: np.ndarray,
    test: sp.csr_matrix,
    train: sp.csr_matrix,
    k: int,
    auc: bool = False,
    batch: int = 100,
) -> dict[str, np.ndarray]:
    """Rank all items for these users, a batch at a time, and compute each user's metrics in a loop.

    Returns:
        metric key -> (n,) in the order of user_ids; keys as in evaluator.user_metrics, "AUC" if asked for.
    """
    rows = []
    for start in range(0, len(user_ids), batch):
        users = user_ids[start : start + batch]
        scores = user_emb[torch.from_numpy(users).to(user_emb.device)] @ item_emb.T  # (b, n_items)
        for row, user in enumerate(users):
            scores[row, torch.from_numpy(_items(train, user)).to(scores.device)] = -torch.inf
        lists = scores.topk(k, dim=1).indices.cpu().numpy()
        table = scores.cpu().numpy() if auc else None
        for row, user in enumerate(users):
            wanted = _items(test, user)
            metrics = _metrics(lists[row].tolist(), set(wanted.tolist()), k)
            rows.append({**metrics, "AUC": _auc(table[row], wanted)} if auc else metrics)
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _items(matrix: sp.csr_matrix, user: int) -> np.ndarray:
    return matrix.indices[matrix.indptr[user] : matrix.indptr[user + 1]].astype(np.int64)


def _metrics(ranked: list[int], wanted: set[int], k: int) -> dict[str, float]:
    hits = [item in wanted for item in ranked]
    gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(hits) if hit)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(len(wanted), k)))
    return {f"Recall@{k}": sum(hits) / len(wanted), f"NDCG@{k}": gain / ideal, f"Hit@{k}": float(any(hits))}


def _auc(scores: np.ndarray, wanted: np.ndarray) -> float:
    """Count the pairs of a wanted and another unmasked item that are in the right order; ties count a half."""
    others = np.delete(scores, wanted)
    others = np.sort(others[np.isfinite(others)])
    below = np.searchsorted(others, scores[wanted], "left") + np.searchsorted(others, scores[wanted], "right")
    return float(below.mean() / 2 / len(others))
