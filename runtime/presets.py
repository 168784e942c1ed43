"""Settings that go together, by the name of a preset; see config.get_config."""

from typing import Any

# fmt: off
PRESETS: dict[str, dict[str, Any]] = {
    # LightGCN as published: He et al. 2020, section 4.1
    "paper": {
        "fusion_mode": "none", "embedding_dim": 64, "num_layers": 3, "lr": 0.001, "batch_size": 2048,
        "reg_lambda": 0.0001, "epochs": 1000, "eval_every": 10, "early_stop_round": 50, "init": "normal",
        "init_std": 0.1, "hard_negatives": 1,
    },
    # XSimGCL: the settings of its authors' code for Yelp2018
    "xsimgcl": {
        "fusion_mode": "none", "embedding_dim": 64, "num_layers": 2, "lr": 0.001, "batch_size": 2048,
        "reg_lambda": 0.0001, "loss": "xsimgcl", "cl_weight": 0.2, "cl_temperature": 0.15, "cl_layer": 1, "noise": 0.2,
        "input_layer": False, "init": "normal", "init_std": 0.01, "epochs": 1000, "eval_every": 10,
        "early_stop_round": 100,
    },
    # SimpleX: the settings of its authors' code for Yelp2018, but for negative_weight (150 there), which they tune for
    # each data set; one layer gathers a user's titles
    "simplex": {
        "fusion_mode": "none", "embedding_dim": 64, "num_layers": 1, "lr": 0.0001, "batch_size": 512,
        "reg_lambda": 1e-8, "loss": "simplex", "normalize": True, "negatives": 1000, "negative_weight": 10.0,
        "margin": 0.9, "init": "normal", "init_std": 0.0001, "epochs": 200, "early_stop_round": 20,
    },
    # what the README recommends
    "tuned": {
        "loss": "softmax", "normalize": True, "temperature": 0.0, "init": "svd", "init_std": 0.1, "fusion_mode": "sum",
        "whiten": True, "text_blocks": "lsa,names,tags", "embedding_dim": 256, "num_layers": 2, "batch_size": 256,
        "lr": 0.03, "lr_schedule": "cosine", "epochs": 6, "reg_lambda": 0.0, "id_dropout": 0.1, "calibrate": True,
        "linear_dim": -1, "cold_cost": 0.005, "rating_weight": -1.0, "recency": -1.0,
    },
}
# fmt: on
