"""SASRec and GRU4Rec: models that read a user's titles in order and predict the next one after each of them."""

import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from data_loader import Dataset, pairs_of_items
from dataset.recency import users_of
from evaluator import evaluate_warm, means
from runtime.distributed import resolve_device
from training.closed_form import log_popularity

MAX_LENGTH = 50  # titles that a state looks back on
N_LAYERS, N_HEADS, INNER_RATIO = 2, 2, 4  # of SASRec; inner_size is 256 where hidden_size is 64
NORM_EPS = 1e-12

Sequences = list[np.ndarray]  # for each user the titles, oldest first; 0 is padding, n stands for the n-th warm title
Drop = Callable[[torch.Tensor], torch.Tensor]


class Fitted(NamedTuple):
    """A model as of its best epoch, and how it came about."""

    model: "SASRec | GRU4Rec"
    valid: dict[str, float]
    epoch: int
    seconds: float  # of training and of measuring on valid


class SASRec(nn.Module):
    """Causal self-attention over a user's titles.

    Source:
        Kang and McAuley 2018, Self-attentive sequential recommendation; blocks and defaults as in RecBole.
    """

    def __init__(self, n_titles: int, hidden_size: int, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.dropout, self.generator = dropout, generator
        self.titles = nn.Embedding(n_titles + 1, hidden_size, padding_idx=0)
        self.places = nn.Embedding(MAX_LENGTH, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=NORM_EPS)
        self.blocks = nn.ModuleList(Block(hidden_size) for _ in range(N_LAYERS))
        initialise(self, generator)

    def forward(self, sequences: torch.Tensor) -> torch.Tensor:
        """Return the state after each title.

        Args:
            sequences: (B, T) int64, T at most MAX_LENGTH, padded on the left with 0.

        Returns:
            (B, T, D); without meaning where sequences are padded.
        """
        length, drop = sequences.shape[1], partial(dropped, module=self)
        places = self.places.weight[MAX_LENGTH - length :]  # counted from the newest, so that padding moves none
        x = drop(self.norm(self.titles(sequences) + places))
        before = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        itself = torch.eye(length, dtype=torch.bool, device=x.device)  # or padding would attend to nothing: NaN
        allowed = (before & (sequences > 0)[:, None] | itself)[:, None]  # (B, 1, T, T)
        for block in self.blocks:
            x = block(x, allowed, drop)
        return x


class Block(nn.Module):
    """A layer of SASRec: attention, then two linear maps, each added to its input and normalised."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query_key_value, self.merge = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.inner, self.outer = nn.Linear(size, INNER_RATIO * size), nn.Linear(INNER_RATIO * size, size)
        self.norms = nn.ModuleList(nn.LayerNorm(size, eps=NORM_EPS) for _ in range(2))

    def forward(self, x: torch.Tensor, allowed: torch.Tensor, drop: Drop) -> torch.Tensor:
        """Return the layer's output for x (B, T, D), a place seeing those of allowed (B, 1, T, T)."""
        b, t, size = x.shape
        parts = self.query_key_value(x).view(b, t, 3, N_HEADS, size // N_HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, H, T, D / H) each
        likeness = query @ key.transpose(2, 3) / (size // N_HEADS) ** 0.5  # (B, H, T, T)
        attention = drop(likeness.masked_fill(~allowed, -torch.inf).softmax(dim=3))
        x = self.norms[0](x + drop(self.merge((attention @ value).transpose(1, 2).flatten(2))))
        return self.norms[1](x + drop(self.outer(functional.gelu(self.inner(x)))))


class GRU4Rec(nn.Module):
    """A gated recurrent unit over a user's titles.

    Source:
        Hidasi et al. 2016, Session-based recommendations with recurrent neural networks; as in RecBole, with vectors of
        titles as long as the state.
    """

    def __init__(self, n_titles: int, hidden_size: int, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.dropout, self.generator = dropout, generator
        self.titles = nn.Embedding(n_titles + 1, hidden_size, padding_idx=0)
        self.gru = nn.GRU(hidden_size, hidden_size, bias=False, batch_first=True)
        self.dense = nn.Linear(hidden_size, hidden_size)
        initialise(self, generator)

    def forward(self, sequences: torch.Tensor) -> torch.Tensor:
        """Return the state after each title; as SASRec. Without a bias, padding leaves the state at 0."""
        x = dropped(self.titles(sequences), self)
        return self.dense(self.gru(x)[0])


MODELS: dict[str, type[SASRec] | type[GRU4Rec]] = {"sasrec": SASRec, "gru4rec": GRU4Rec}


def dropped(x: torch.Tensor, module: SASRec | GRU4Rec) -> torch.Tensor:
    """Return x without a share of its values, drawn by the model's own generator; x itself outside of training."""
    if not module.training or not module.dropout:
        return x
    kept = torch.empty_like(x).bernoulli_(1 - module.dropout, generator=module.generator)
    return x * kept / (1 - module.dropout)


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights as RecBole does: normal with deviation 0.02, those of a GRU by Xavier; no biases."""
    with torch.no_grad():
        for name, values in model.named_parameters():
            if ".bias" in name or name == "bias":
                values.zero_()
            elif name.startswith("gru"):
                nn.init.xavier_uniform_(values, generator=generator)
            elif "norm" not in name:
                values.normal_(0, 0.02, generator=generator)
        model.titles.weight[0] = 0


def sequences_of(dataset: Dataset, part: str, seed: int) -> Sequences:
    """Return the titles of each user that are known before "valid" or "test", oldest first.

    Titles of the same time, and those without one, which come first, are in random order.
    """
    is_warm = np.isin(np.arange(dataset.n_items), dataset.warm_items)
    pairs = pairs_of_items(dataset.known_before(part), is_warm)
    lots = np.random.default_rng([seed, 6]).random(pairs.nnz)
    order = np.lexsort((lots, -dataset.ages_of(pairs), users_of(pairs)))
    return np.split(np.cumsum(is_warm)[pairs.indices[order]], pairs.indptr[1:-1])


def padded(sequences: Sequences) -> np.ndarray:
    """Return the newest MAX_LENGTH titles of each sequence, (n, MAX_LENGTH) int64, padded on the left."""
    rows = np.zeros((len(sequences), MAX_LENGTH), np.int64)
    for row, titles in zip(rows, sequences, strict=True):
        if len(titles):
            row[-len(titles[-MAX_LENGTH:]) :] = titles[-MAX_LENGTH:]
    return rows


def windows(sequences: Sequences) -> torch.Tensor:
    """Cut sequences into what a step learns from: each title but a user's first is asked for once, after those before.

    Returns:
        (n, 2, MAX_LENGTH) int64: titles, and beside each the one that follows it; padded on the left.
    """
    ends = [(titles, end) for titles in sequences for end in range(len(titles), 1, -MAX_LENGTH)]
    sides = [padded([titles[: end + shift] for titles, end in ends]) for shift in (-1, 0)]
    asked = np.stack(sides, axis=1)
    asked[:, 1] *= asked[:, 0] > 0  # the first title of a sequence follows none
    return torch.from_numpy(asked)


def trimmed(batch: torch.Tensor) -> torch.Tensor:
    """Leave out the first columns of (B, ..., T) if they are padding in all rows; no state depends on them."""
    return batch[..., int(batch.flatten(0, -2).any(dim=0).int().argmax()) :]


def train_epoch(
    model: SASRec | GRU4Rec, optimizer: torch.optim.Optimizer, asked: torch.Tensor, batch_size: int
) -> float:
    """Train on each window once, by the cross entropy over all titles, and return the mean loss.

    Source:
        Klenitskiy and Vasilev 2023, Turning dross into gold loss: is BERT4Rec really better than SASRec?
    """
    model.train()
    losses = []
    order = torch.randperm(len(asked), generator=model.generator, device=asked.device)
    for batch in asked[order].split(batch_size):
        titles, following = trimmed(batch).unbind(1)
        there = following > 0
        scores = model(titles)[there] @ model.titles.weight[1:].T  # (titles asked for, n_titles)
        loss = functional.cross_entropy(scores, following[there] - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


@torch.no_grad()
def vectors(model: SASRec | GRU4Rec, sequences: Sequences, dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Return vectors whose products are the scores: users' newest states, and titles.

    The last column ranks by popularity for users of whom nothing is known; it is 0 for all others.

    Returns:
        (n_users, D + 1) and (n_items, D + 1) float32, on the CPU.
    """
    model.eval()
    weight, titles = model.titles.weight, torch.from_numpy(padded(sequences))
    states = torch.empty(len(titles), weight.shape[1])
    for users in (titles > 0).sum(dim=1).argsort(stable=True).split(512):  # of about the same number of titles
        states[users] = model(trimmed(titles[users]).to(weight.device))[:, -1].cpu()
    unknown = ~titles.any(dim=1, keepdim=True)
    user_emb = torch.cat([states * ~unknown, unknown.float()], dim=1)
    item_emb = torch.zeros(dataset.n_items, user_emb.shape[1])
    item_emb[torch.from_numpy(dataset.warm_items), :-1] = weight[1:].cpu()
    item_emb[:, -1] = torch.from_numpy(log_popularity(dataset.train))
    return user_emb, item_emb


def measure(model: SASRec | GRU4Rec, dataset: Dataset, part: str, config: dict[str, Any]) -> dict[str, float]:
    """Return the mean metrics on "valid" or "test" among the titles with a history, users placed by what they knew."""
    factors = vectors(model, sequences_of(dataset, part, config["seed"]), dataset)
    return means(evaluate_warm(*factors, dataset, part, config, auc=config["early_stop_metric"] == "AUC"))


def fit(name: str, dataset: Dataset, point: dict[str, Any], config: dict[str, Any]) -> Fitted:
    """Train a model on the train part, and keep the epoch that is best on valid.

    Args:
        name: of MODELS.
        dataset: its test part is not looked at.
        point: "hidden_size", "dropout" and "lr".
        config: uses seed, epochs, early_stop_metric, early_stop_round, batch_size (users a step), device, and what
            evaluate uses.
    """
    start, metric = time.perf_counter(), config["early_stop_metric"]
    device = resolve_device(config["device"])
    initial = torch.Generator().manual_seed(config["seed"])
    model = MODELS[name](len(dataset.warm_items), point["hidden_size"], point["dropout"], initial).to(device)
    model.generator = torch.Generator(device).manual_seed(config["seed"])
    optimizer = torch.optim.Adam(model.parameters(), lr=point["lr"])
    asked = windows(sequences_of(dataset, "valid", config["seed"])).to(device)
    best: tuple[int, dict[str, float], dict[str, Any]] | None = None
    for epoch in range(1, config["epochs"] + 1):
        train_epoch(model, optimizer, asked, config["batch_size"])
        found = measure(model, dataset, "valid", config)
        if best is None or found[metric] > best[1][metric]:
            best = epoch, found, copy.deepcopy(model.state_dict())
        if config["early_stop_round"] and epoch - best[0] >= config["early_stop_round"]:
            break
    model.load_state_dict(best[2])
    return Fitted(model, best[1], best[0], time.perf_counter() - start)
