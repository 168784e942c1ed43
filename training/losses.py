"""The losses that one can ask for, by name, and the contract that each of them keeps.

A loss is a file of this room with two functions:

    my_loss(model, *batch, config, drop=None) -> (loss, penalty)
        Two scalars: the mean loss a pair, which history.jsonl shows, and the L2 penalty, which it leaves out. What
        drop(nodes) picks has to be placed by its text only: `final, id_rows = model(nodes, chosen(drop, nodes))`.
        With weights of pairs in its batch the mean is steps.mean_of_pairs(values, weights).
    my_batches(train, config, rng, device) -> (my_loss, [(batch, n_pairs), ...])
        The batches of an epoch, in the order of the steps. Whatever is random is drawn from rng, or from a seed in the
        batch that was drawn from rng: an epoch that was interrupted goes on from any step with the same draws.
        The values of train are what its pairs count by their rates: ones, unless rating_weight is set. A loss that is
        to follow them puts those of its pairs into the batch, or None where all are ones; see steps.weights_of.

Both get the whole config, so that a loss has settings of its own. config.py lists the names that are legal.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from training.bpr import bpr_batches
from training.simplex import simplex_batches
from training.softmax import softmax_batches
from training.steps import Batches
from training.xsimgcl import xsimgcl_batches

BATCHES = {"bpr": bpr_batches, "softmax": softmax_batches, "xsimgcl": xsimgcl_batches, "simplex": simplex_batches}


def epoch_batches(
    train: sp.csr_matrix, config: dict[str, Any], rng: np.random.Generator, device: torch.device
) -> Batches:
    """Draw the batches of an epoch for the loss of the config: (loss function, [(batch, pairs), ...])."""
    return BATCHES[config["loss"]](train, config, rng, device)
