"""What a rate says of a user's taste: how far it lies from what the user gives on average."""

from typing import NamedTuple

import numpy as np

PRIOR = 3  # rates of the catalogue that a user's own mean and spread are drawn towards, as if given by the user
LEAST_SPREAD = 0.3  # of the catalogue's, which nobody's is taken to be below
LIMIT = 2.5  # of a score, on either side
# scores, in spreads: from which a rated title is liked, or loved, and up to which it is disliked
LIKED, LOVED, DISLIKED = 0.0, 0.5, -1.0
HEAVIEST = 3.0  # that a pair counts
DROPPED = -1.5  # what dropping a title says


class RatingScale(NamedTuple):
    """What users give on average, and how far their rates lie from that; see rating_scale."""

    mean: float  # of the catalogue
    spread: float  # of users around their own means
    means: np.ndarray  # (n_users,)
    spreads: np.ndarray  # (n_users,)

    def scores(self, user_ids: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Return how far rates (n,) of these users lie above their means, in their spreads: (n,) float32.

        A score is cut at LIMIT on both sides; an unrated title, whose rate is 0, has 0.
        """
        scores = (rates - self.means[user_ids]) / self.spreads[user_ids]
        return np.where(rates != 0, np.clip(scores, -LIMIT, LIMIT), 0).astype(np.float32)


def rating_scale(
    user_ids: np.ndarray, rates: np.ndarray, n_users: int, catalogue: tuple[float, float] | None = None
) -> RatingScale:
    """Learn the scale of each user from the rates that they gave.

    Means and spreads are drawn towards the catalogue's by PRIOR rates, so that a single rate is measured by what others
    give; but whoever gave the same rate twice or more, and no other, has that for a mean: nothing of it is praise.

    Args:
        user_ids, rates: (n,), on any scale; 0 is unrated, and below 0 legal.
        n_users: how many users there are; one without rates has the catalogue's scale.
        catalogue: its mean and spread, where these users are not those who make it.

    Source:
        Herlocker et al. 1999 for scores in a user's own spreads; the prior as in empirical Bayes estimates.
    """
    rated = rates != 0
    user_ids, rates = user_ids[rated], rates[rated].astype(np.float64)
    n, total = (np.bincount(user_ids, weights, n_users) for weights in (None, rates))
    mean = catalogue[0] if catalogue else float(rates.mean()) if len(rates) else 0.0
    own = np.divide(total, n, out=np.full(n_users, mean), where=n > 0)
    squares = np.bincount(user_ids, np.square(rates - own[user_ids]), n_users)
    # where nobody's rates differ, no score hangs on the spread
    spread = catalogue[1] if catalogue else float(np.sqrt(squares.sum() / max(np.maximum(n - 1, 0).sum(), 1))) or 1.0
    is_constant = (n > 1) & (squares <= 1e-12 * np.square(own) * n)
    means = np.where(is_constant, own, (n * own + PRIOR * mean) / (n + PRIOR))
    spreads = np.sqrt((squares + PRIOR * spread**2) / (np.maximum(n - 1, 0) + PRIOR))
    return RatingScale(mean, spread, means, np.maximum(spreads, LEAST_SPREAD * spread))


def pair_weights(scores: np.ndarray, rating_weight: float) -> np.ndarray:
    """Return what pairs with these scores (n,) count in training: 1 + rating_weight score, from 0 to HEAVIEST."""
    return np.clip(1 + rating_weight * scores, 0, HEAVIEST).astype(np.float32)
