"""LightGCN with text fusion, in the form where the text never has to be propagated again."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import embedding_bag

from runtime.distributed import SumOverProcesses, own_share, sum_over_processes

# what the score of a title is lowered by that must not be listed before any other
UNLISTED = 1e4
LINEAR_BUFFERS = ("linear_inputs", "linear_outputs", "linear_power", "linear_liking", "placing")


class Propagate(torch.autograd.Function):
    """Rows of P X with P = (1 / (K + 1)) sum_k A^k, and the same rows of X.

    As A is symmetric, the gradient is P applied to the gradient, so no layer has to be kept; the gradient of
    both outputs meets in one (N, D) buffer.

    Source:
        He et al. 2020, equations 4 and 8 with alpha_k = 1 / (K + 1); the sum is evaluated by Horner's rule.
    """

    @staticmethod
    def forward(
        ctx, x: torch.Tensor, norm_adj: torch.Tensor, num_layers: int, input_layer: bool, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows (n, D) of P X and of X."""
        ctx.constants = norm_adj, num_layers, input_layer, rows
        propagated = propagate(x, norm_adj, num_layers, input_layer)
        return propagated.index_select(0, rows), x.index_select(0, rows)  # (n, D) each

    @staticmethod
    def backward(ctx, grad: torch.Tensor, grad_x: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        """Return the gradient of X, (N, D)."""
        *how, rows = ctx.constants
        scattered = grad.new_zeros(how[0].shape[0], grad.shape[1]).index_add_(0, rows, grad)  # (N, D)
        return propagate(scattered, *how).index_add_(0, rows, grad_x), None, None, None, None


def propagate(x: torch.Tensor, norm_adj: torch.Tensor, num_layers: int, input_layer: bool = True) -> torch.Tensor:
    """Return P x without recording a gradient.

    Args:
        x: (N, C) dense.
        norm_adj: A, (N, N) sparse CSR, symmetric.
        num_layers: K; 0 returns x.
        input_layer: whether x itself is one of the layers of the mean; else P = (1 / K) sum_(k = 1)^K A^k.

    Returns:
        (N, C), a new tensor.
    """
    if not input_layer:
        return spmm(norm_adj, propagate(x, norm_adj, num_layers - 1))
    if num_layers == 0:
        return x.clone()
    h = x
    for _ in range(num_layers):
        h = spmm(norm_adj, h).add_(x)  # (N, C)
    return h.mul_(1 / (num_layers + 1))


def spmm(norm_adj: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """Multiply sparse CSR (n, m) by dense (m, C) -> (n, C).

    On a CPU this is embedding_bag, a weighted sum of gathered rows, whose kernel prefetches them; on 2 cores and the
    Gowalla graph it takes a quarter of the time of torch's CSR product.
    """
    if norm_adj.is_cuda:
        return norm_adj @ h
    return embedding_bag(
        norm_adj.col_indices(),
        h,
        norm_adj.crow_indices(),
        mode="sum",
        per_sample_weights=norm_adj.values(),
        include_last_offset=True,
    )


class LightGCN(nn.Module):
    """Final vectors of users and items; a score is the dot product of a user's and an item's.

    With X the id vectors, T the text vectors and P as in Propagate, the fused vectors are
        none:    P X
        sum:     P (X + T W_text)                           = P X + (P T) W_text
        concat:  P ([X ; T] [W_id ; W_text] + 1 bias)       = (P X) W_id + (P T) W_text + (P 1) bias
    where P T and P 1 are constants, computed once. Nodes without edges keep an id vector of zero: nothing
    trains it, so they are placed by their text only. The final vectors are the fused ones, made unit length if
    normalize, users' divided by temperature; at the defaults that is all. After training set_cold_vectors may give
    items without edges others. Beside them stand columns that no step trains: with has_bias, 1 for users and
    item_bias for items; those of set_linear_columns; and with popularity a last one, that for items and 1 for users
    without edges and text, who have nothing else: popularity ranks for them.

    In several processes (torch.distributed) each owns a share of the columns of X and of T, and with them rows of
    W_id and W_text: it propagates its own columns, and only the fused vectors of a step's nodes are added up.

    Args:
        norm_adj: A, (N, N) sparse CSR float32, N = n_users + n_items, users first.
        n_users: how many of the N rows are users.
        embedding_dim: D.
        num_layers: K, 0 or more.
        fusion_mode: "none", "sum" or "concat"; without text it is always "none".
        text: (N, L) float32 or None; rows of zeros for nodes that bring no text.
        init_std: standard deviation of the initial X and W_text; W_id starts as the identity, bias as 0.
        generator: source of the initial values, on the CPU.
        initial: (N, D) initial id vectors in place of random ones, scaled to init_std, or None.
        normalize: whether a score is a cosine, over the temperature.
        temperature: what scores are divided by.
        has_bias: whether the model has item_bias (n_items,), what is added to the scores of items; it is set from
            outside. At first it is 0, and -UNLISTED for items without edges and text.
        popularity: (n_items,) the scores of items for users without edges and text, or None, which leaves these
            users with vectors of zero.
        input_layer: whether X itself counts as a layer, as in LightGCN; it has to where there is text.

    Source:
        He et al. 2020, LightGCN, https://arxiv.org/abs/2002.02126; Wu et al. 2024, On the effectiveness of sampled
        softmax loss for item recommendation, for cosine and temperature.
    """

    def __init__(
        self,
        norm_adj: torch.Tensor,
        n_users: int,
        embedding_dim: int,
        num_layers: int,
        fusion_mode: str = "none",
        text: torch.Tensor | None = None,
        init_std: float = 0.1,
        generator: torch.Generator | None = None,
        initial: torch.Tensor | None = None,
        normalize: bool = False,
        temperature: float = 1.0,
        has_bias: bool = False,
        popularity: torch.Tensor | None = None,
        input_layer: bool = True,
    ) -> None:
        super().__init__()
        n_nodes = norm_adj.shape[0]
        self.n_users, self.num_layers, self.embedding_dim = n_users, num_layers, embedding_dim
        self.input_layer, self.normalize, self.temperature = input_layer, normalize, temperature
        self.fusion_mode = "none" if text is None else fusion_mode
        self.columns = own_share(embedding_dim)
        self.register_buffer("norm_adj", norm_adj, persistent=False)
        connected = norm_adj.crow_indices().diff() > 0
        drawn = torch.randn(n_nodes, embedding_dim, generator=generator) * init_std
        if initial is not None:
            drawn = initial * (init_std / initial.std().clamp_min(1e-12))
        drawn = drawn[:, self.columns].to(norm_adj.device)
        has_text = torch.zeros_like(connected) if self.fusion_mode == "none" else text.any(dim=1).to(connected.device)
        self.id_emb = nn.Parameter(drawn * connected[:, None])  # (N, D), or this process's share of the columns
        self.register_buffer("is_cold", ~connected[n_users:], persistent=False)
        # which nodes can be placed without their edges: (N,), users never
        self.register_buffer(
            "has_item_text", has_text & (torch.arange(n_nodes, device=has_text.device) >= n_users), persistent=False
        )
        self.register_buffer("item_bias", -UNLISTED * (self.is_cold & ~has_text[n_users:]) if has_bias else None)
        # (n_users,) users without edges and text
        self.register_buffer("is_unknown", ~(connected | has_text)[:n_users], persistent=False)
        self.register_buffer("popularity", popularity, persistent=False)
        self.register_buffer("cold_vectors", None)
        for name in (*LINEAR_BUFFERS, "linear_users", "user_vectors"):
            self.register_buffer(name, None, persistent=name in LINEAR_BUFFERS)
        if self.fusion_mode != "none":
            self.text_dim, mine = text.shape[1], own_share(text.shape[1])
            drawn = torch.randn(text.shape[1], embedding_dim, generator=generator) * init_std
            self.text_weight = nn.Parameter(drawn[mine].clone())  # (L, D), or a share of the rows
            text = text[:, mine]
            self.register_buffer("propagated_text", self._propagate_constant(text), persistent=False)  # (N, L)
            self.register_buffer("item_text", text[n_users:].clone(), persistent=False)  # (n_items, L)
        if self.fusion_mode == "concat":
            self.id_weight = nn.Parameter(torch.eye(embedding_dim)[self.columns].clone())
            self.bias = nn.Parameter(torch.zeros(embedding_dim))
            self.register_buffer("propagated_ones", self._propagate_constant(torch.ones(n_nodes, 1)), persistent=False)
        self.to(norm_adj.device)

    def forward(
        self, node_ids: torch.Tensor, text_only: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the final vectors of some nodes and their id vectors.

        Args:
            node_ids: (n,) node rows.
            text_only: which of them are items to be placed by their text only, as cold items are: (m,) positions
                in node_ids, or (n,) bool, which costs a product more and never waits for a GPU.

        Returns:
            The final vectors, (n, D), without the extra columns; and the (n, D) id vectors, of which a process
            has its own columns.
        """
        propagated, id_rows = Propagate.apply(self.id_emb, self.norm_adj, self.num_layers, self.input_layer, node_ids)
        return self.final_vectors(propagated, node_ids, text_only), id_rows

    @torch.no_grad()
    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return user_emb (n_users, D) and item_emb (n_items, D), both with the extra columns."""
        propagated = propagate(self.id_emb, self.norm_adj, self.num_layers, self.input_layer)
        everyone = self.final_vectors(propagated, None, None)  # (N, D)
        users, items = [everyone[: self.n_users]], [everyone[self.n_users :]]
        if self.user_vectors is not None:
            is_placed = self.user_vectors.any(dim=1, keepdim=True)
            users[0] = torch.where(is_placed, self.user_vectors, users[0])
        if self.cold_vectors is not None:
            items[0] = items[0].index_copy(0, self._cold_with_text(), self.cold_vectors)
        if self.item_bias is not None:
            users.append(torch.ones_like(users[0][:, :1]))
            items.append(self.item_bias[:, None])
        if self.linear_users is not None:
            users.append(self.linear_users)  # (n_users, r)
            items.append(self.linear_outputs)
        if self.popularity is not None:
            is_unknown = self.is_unknown
            if self.user_vectors is not None:
                is_unknown = is_unknown & ~self.user_vectors.any(dim=1)
            users = [part.masked_fill(is_unknown[:, None], 0) for part in users]
            users.append(is_unknown[:, None].float())
            items.append(self.popularity[:, None])
        return torch.cat(users, dim=1), torch.cat(items, dim=1)

    def cold_items_with_text(self) -> np.ndarray:
        """Return the rows of the items without edges that can be placed by their text."""
        return self._cold_with_text().cpu().numpy()

    def _cold_with_text(self) -> torch.Tensor:
        return (self.is_cold & self.has_item_text[self.n_users :]).nonzero().squeeze(1)

    def set_cold_vectors(self, vectors: torch.Tensor) -> None:
        """Set the final vectors (n, D) of cold_items_with_text, in place of those that their text weights make."""
        self.cold_vectors = vectors.to(self.norm_adj.device)

    def set_linear_columns(self, **columns: torch.Tensor | None) -> None:
        """Set the linear columns, which are part of the state from then on.

        Args:
            linear_inputs, linear_liking: (n_items, r), by which users are placed; see linear_columns.Linear.
            linear_outputs: (n_items, r), the items' columns.
            linear_power: scalar, as Linear.user_power.
        """
        for name, part in columns.items():
            setattr(self, name, None if part is None else part.to(self.norm_adj.device))

    def set_users(self, linear_users: torch.Tensor | None, user_vectors: torch.Tensor | None) -> None:
        """Place the users by what is known of them; not part of the state, since it follows from the data.

        Args:
            linear_users: (n_users, r), their linear columns.
            user_vectors: (n_users, D), in place of their trained columns; rows of zeros keep these.
        """
        for name, part in (("linear_users", linear_users), ("user_vectors", user_vectors)):
            setattr(self, name, None if part is None else part.to(self.norm_adj.device))

    def final_vectors(
        self, propagated: torch.Tensor, rows: torch.Tensor | None, text_only: torch.Tensor | None
    ) -> torch.Tensor:
        """Fuse rows (all of them if None) of P X with their text, those at `text_only` without their edges."""
        fused = self._own_part(propagated, rows)
        text_only = None if self.fusion_mode == "none" else text_only
        if text_only is not None:
            fused = self._placed_by_text(fused, rows, text_only)
        fused = SumOverProcesses.apply(fused)  # (n, D)
        if self.fusion_mode == "concat":
            ones = _rows_of(self.propagated_ones, rows)
            if text_only is not None:
                ones = _filled(ones, text_only, 1 / (self.num_layers + 1))
            fused = fused + ones * self.bias
        if self.normalize:
            fused = torch.nn.functional.normalize(fused)
        if self.temperature != 1:
            rows = torch.arange(len(fused), device=fused.device) if rows is None else rows
            fused = torch.where((rows < self.n_users)[:, None], fused / self.temperature, fused)
        return fused

    def _placed_by_text(self, fused: torch.Tensor, rows: torch.Tensor, text_only: torch.Tensor) -> torch.Tensor:
        """Replace the rows of fused (n, D) at `text_only` by this process's share of the items' text vectors."""
        is_mask = text_only.dtype == torch.bool
        items = (rows - self.n_users).clamp_min(0) if is_mask else rows[text_only] - self.n_users
        text = self.item_text.index_select(0, items) @ self.text_weight / (self.num_layers + 1)
        return torch.where(text_only[:, None], text, fused) if is_mask else fused.index_copy(0, text_only, text)

    def _own_part(self, propagated: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """Return what this process's columns bring to rows of the fused vectors, without the bias: (n, D)."""
        if self.fusion_mode == "concat":
            return propagated @ self.id_weight + _rows_of(self.propagated_text, rows) @ self.text_weight
        if propagated.shape[1] < self.embedding_dim:
            others = (self.columns.start, self.embedding_dim - self.columns.stop)
            propagated = torch.nn.functional.pad(propagated, others)
        if self.fusion_mode == "sum":
            return propagated + _rows_of(self.propagated_text, rows) @ self.text_weight  # (n, L) @ (L, D)
        return propagated

    def whole_item_text(self) -> torch.Tensor | None:
        """Return the items' text vectors (n_items, L), all columns in every process; None without text."""
        if self.fusion_mode == "none":
            return None
        return sum_over_processes(_placed(self.item_text, 1, self.text_dim))

    def whole_state(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Put tensors shaped like this process's parameters together to those of a single process."""
        whole = {}
        for name, part in state.items():
            dim, total = self._split_dims().get(name, (None, None))
            whole[name] = part.detach().clone() if dim is None else sum_over_processes(_placed(part, dim, total))
        return whole

    def own_state(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Take this process's share of the tensors of a single process, the inverse of whole_state."""
        return {
            name: tensor.narrow(*_narrow(*self._split_dims()[name])).clone() if name in self._split_dims() else tensor
            for name, tensor in state.items()
        }

    def _split_dims(self) -> dict[str, tuple[int, int]]:
        """Name the parameters of which a process owns a share: name -> (dimension, its whole length)."""
        split = {"id_emb": (1, self.embedding_dim), "id_weight": (0, self.embedding_dim)}
        return split | ({"text_weight": (0, self.text_dim)} if self.fusion_mode != "none" else {})

    def _propagate_constant(self, constant: torch.Tensor, columns: int = 64) -> torch.Tensor:
        """Return P constant, a few columns at a time so that only the result is large."""
        constant = constant.to(self.norm_adj.device)
        result = torch.empty(constant.shape, device=constant.device)
        for start in range(0, constant.shape[1], columns):
            part = constant[:, start : start + columns].contiguous()
            result[:, start : start + columns] = propagate(part, self.norm_adj, self.num_layers)
        return result


def _narrow(dim: int, total: int) -> tuple[int, int, int]:
    mine = own_share(total)
    return dim, mine.start, mine.stop - mine.start


def _placed(part: torch.Tensor, dim: int, total: int) -> torch.Tensor:
    """Put a process's share into zeros of the whole shape."""
    shape = list(part.shape)
    shape[dim] = total
    whole = part.new_zeros(shape)
    whole.narrow(*_narrow(dim, total)).copy_(part.detach())
    return whole


def _rows_of(constant: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
    return constant if rows is None else constant.index_select(0, rows)


def _filled(values: torch.Tensor, places: torch.Tensor, value: float) -> torch.Tensor:
    """Return values (n,) or (n, 1) with one value at these places, positions or (n,) bool."""
    if places.dtype == torch.bool:
        return values.masked_fill(places.view_as(values), value)
    return values.index_fill(0, places, value)
