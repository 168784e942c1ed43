"""LightGCN with text fusion, in the form where the text never has to be propagated again."""

import torch
from torch import nn


class Propagate(torch.autograd.Function):
    """P X with P = (1 / (K + 1)) sum_k A^k; as A is symmetric, the gradient is P applied to the gradient.

    Source:
        He et al. 2020, equations 4 and 8 with alpha_k = 1 / (K + 1); the sum is evaluated by Horner's rule.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, norm_adj: torch.Tensor, num_layers: int) -> torch.Tensor:
        ctx.graph = norm_adj, num_layers
        return propagate(x, norm_adj, num_layers)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return propagate(grad, *ctx.graph), None, None


def propagate(x: torch.Tensor, norm_adj: torch.Tensor, num_layers: int) -> torch.Tensor:
    """Return P x without recording a gradient.

    Args:
        x: (N, C) dense.
        norm_adj: A, (N, N) sparse CSR, symmetric.
        num_layers: K; 0 returns x.

    Returns:
        (N, C), a new tensor.
    """
    h = x
    for _ in range(num_layers):
        h = torch.addmm(x, norm_adj, h)  # (N, C)
    return h / (num_layers + 1)


class LightGCN(nn.Module):
    """Final vectors of users and items; a score is the dot product of a user's and an item's.

    With X the id vectors, T the text vectors and P as in Propagate, the final vectors are
        none:    P X
        sum:     P (X + T W_text)                           = P X + (P T) W_text
        concat:  P ([X ; T] [W_id ; W_text] + 1 bias)       = (P X) W_id + (P T) W_text + (P 1) bias
    where P T and P 1 are constants, computed once. Nodes without edges keep an id vector of zero: nothing
    trains it, so they are placed by their text alone.

    Args:
        norm_adj: A, (N, N) sparse CSR float32, N = n_users + n_items, users first.
        n_users: how many of the N rows are users.
        embedding_dim: D.
        num_layers: K, 0 or more.
        fusion_mode: "none", "sum" or "concat"; without text it is always "none".
        text: (N, L) float32 or None; rows of zeros for nodes that bring no text.
        init_std: standard deviation of the initial X and W_text; W_id starts as the identity, bias as 0.
        generator: source of the initial values, on the CPU.

    Source:
        He et al. 2020, LightGCN, https://arxiv.org/abs/2002.02126.
    """

    def __init__(self, norm_adj: torch.Tensor, n_users: int, embedding_dim: int, num_layers: int,
                 fusion_mode: str = "none", text: torch.Tensor | None = None, init_std: float = 0.1,
                 generator: torch.Generator | None = None) -> None:
        super().__init__()
        n_nodes = norm_adj.shape[0]
        self.n_users, self.num_layers = n_users, num_layers
        self.fusion_mode = "none" if text is None else fusion_mode
        self.register_buffer("norm_adj", norm_adj, persistent=False)
        connected = norm_adj.crow_indices().diff() > 0
        initial = torch.randn(n_nodes, embedding_dim, generator=generator) * init_std
        self.id_emb = nn.Parameter(initial.to(norm_adj.device) * connected[:, None])  # (N, D)
        if self.fusion_mode != "none":
            self.text_weight = nn.Parameter(torch.randn(text.shape[1], embedding_dim, generator=generator) * init_std)
            self.register_buffer("propagated_text", self._propagate_constant(text), persistent=False)  # (N, L)
        if self.fusion_mode == "concat":
            self.id_weight = nn.Parameter(torch.eye(embedding_dim))
            self.bias = nn.Parameter(torch.zeros(embedding_dim))
            self.register_buffer("propagated_ones", self._propagate_constant(torch.ones(n_nodes, 1)), persistent=False)
        self.to(norm_adj.device)

    def forward(self, node_ids: torch.Tensor) -> torch.Tensor:
        """Return the final vectors of some nodes: (n,) node rows -> (n, D)."""
        propagated = Propagate.apply(self.id_emb, self.norm_adj, self.num_layers)[node_ids]  # (n, D)
        return self._fuse(propagated, node_ids)

    @torch.no_grad()
    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return user_emb (n_users, D) and item_emb (n_items, D)."""
        everyone = self._fuse(propagate(self.id_emb, self.norm_adj, self.num_layers), slice(None))
        return everyone[: self.n_users], everyone[self.n_users:]

    def _fuse(self, propagated: torch.Tensor, rows: torch.Tensor | slice) -> torch.Tensor:
        if self.fusion_mode == "none":
            return propagated
        text = self.propagated_text[rows] @ self.text_weight  # (n, L) @ (L, D)
        if self.fusion_mode == "sum":
            return propagated + text
        return propagated @ self.id_weight + text + self.propagated_ones[rows] * self.bias

    def _propagate_constant(self, constant: torch.Tensor, columns: int = 64) -> torch.Tensor:
        """Return P constant, a few columns at a time so that only the result is large."""
        constant = constant.to(self.norm_adj.device)
        parts = [propagate(part.contiguous(), self.norm_adj, self.num_layers) for part in constant.split(columns, dim=1)]
        return torch.cat(parts, dim=1)
