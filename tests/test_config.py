"""The settings: copies, precedence, types, ranges."""

import copy
from typing import Any

import pytest

from config import CONFIG, PRESETS, SETTINGS, get_config
from runtime.cli import Flags, parse_overrides
from tests.helpers.config import help_of

CHOICES = {
    "split": ("auto", "given", "user_time", "leave_one_out", "random", "global_time"),
    "encoder_fallback": ("lsa", "none"),
    "fusion_mode": ("concat", "sum", "none"),
    "resume": ("auto", "never"),
    "mode": ("train", "inference"),
}
TYPOS = [
    ("embeding_dim", "embedding_dim"),
    ("num_layer", "num_layers"),
    ("epoch", "epochs"),
    ("topk", "top_k"),
    ("fusion-mode", "fusion_mode"),
    ("use_user_lm", "use_user_llm"),
    ("Split", "split"),
    ("datadir", "data_dir"),
]
INT_KEYS = [key for key, value in CONFIG.items() if type(value) is int]
FLOAT_KEYS = [key for key, value in CONFIG.items() if type(value) is float]


# --- the dict ---


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embedding_dim", 64),
        ("num_layers", 1),
        ("fusion_mode", "concat"),
        ("use_user_llm", True),
        ("use_item_llm", True),
        ("epochs", 20),
        ("lr", 0.001),
        ("model_name", "BAAI/bge-m3"),
        ("device", "auto"),
        ("min_rate", 1.0),
        ("split", "auto"),
        ("cold_item_ratio", 0.0),
        ("top_k", [10, 20]),
        ("recommend_k", 20),
        ("seed", 0),
        ("split_seed", 0),
    ],
)
def test_defaults_that_users_know(key: str, value: Any) -> None:
    found = get_config()[key]
    assert found == value
    assert type(found) is type(value)


def test_config_is_one_flat_dict_of_what_settings_tells() -> None:
    told = {key: setting for section in SETTINGS.values() for key, setting in section.items()}
    assert {key: setting.default for key, setting in told.items()} == CONFIG
    assert sum(map(len, SETTINGS.values())) == len(CONFIG)
    assert not any(isinstance(value, dict) for value in CONFIG.values())


@pytest.mark.parametrize("key", list(CONFIG))
def test_every_setting_has_a_meaning_and_a_legal_default(key: str) -> None:
    setting = next(section[key] for section in SETTINGS.values() if key in section)
    assert len(setting.meaning) > 10
    assert not setting.meaning.endswith(".")
    assert setting.legal.words
    assert setting.legal.holds(setting.default)


@pytest.mark.parametrize("key", CHOICES)
def test_help_names_every_legal_choice(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = help_of(Flags(""), capsys, "all").split(f"  --{key} ")[1].split("  --")[0]
    assert [choice for choice in CHOICES[key] if choice not in line] == []


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_is_valid_and_arrives(name: str) -> None:
    config = get_config({"preset": name})
    assert set(config) == set(CONFIG)
    assert {key: config[key] for key in PRESETS[name]} == PRESETS[name]


def test_preset_tuned_exists() -> None:
    assert "tuned" in PRESETS


# --- copies ---


def test_get_config_returns_every_key_and_the_defaults() -> None:
    assert get_config() == CONFIG == get_config({})
    assert get_config() is not CONFIG


def test_changing_the_result_never_reaches_config() -> None:
    before = copy.deepcopy(CONFIG)
    config = get_config()
    config["top_k"].append(99)
    config["lr"] = 7.0
    assert before == CONFIG == get_config()


def test_overrides_never_reach_config() -> None:
    before = copy.deepcopy(CONFIG)
    get_config({"preset": "tuned", "epochs": 3, "top_k": [5, 20]})
    assert before == CONFIG


def test_result_shares_no_list_with_the_overrides() -> None:
    mine = [5, 20]
    config = get_config({"top_k": mine})
    config["top_k"].append(30)
    assert mine == [5, 20]
    mine.append(40)
    assert config["top_k"] == [5, 20, 30]


def test_result_shares_no_list_with_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "mine", {"top_k": [5, 20]})
    get_config({"preset": "mine"})["top_k"].append(30)
    assert PRESETS["mine"] == {"top_k": [5, 20]}


def test_overrides_dict_is_left_as_it_was() -> None:
    overrides = {"preset": "paper", "num_layers": 2}
    get_config(overrides)
    assert overrides == {"preset": "paper", "num_layers": 2}


# --- precedence ---


@pytest.mark.parametrize("overrides", [{"preset": "paper", "num_layers": 0}, {"num_layers": 0, "preset": "paper"}])
def test_overrides_outrank_the_preset_in_any_order(overrides: dict[str, Any]) -> None:
    config = get_config(overrides)
    assert config["num_layers"] == 0
    assert config["epochs"] == PRESETS["paper"]["epochs"] != CONFIG["epochs"]
    assert config["split"] == CONFIG["split"]


def test_an_override_back_to_the_default_outranks_the_preset() -> None:
    assert get_config({"preset": "paper", "epochs": CONFIG["epochs"]})["epochs"] == CONFIG["epochs"]


def test_command_line_outranks_the_preset() -> None:
    config = get_config(parse_overrides(["--num_layers", "0", "--preset", "paper"]))
    assert (config["num_layers"], config["fusion_mode"]) == (0, "none")


def test_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="turbo") as error:
        get_config({"preset": "turbo"})
    assert all(name in str(error.value) for name in PRESETS)


# --- keys and types ---


@pytest.mark.parametrize(("key", "nearest"), TYPOS)
def test_unknown_key_names_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=key) as error:
        get_config({key: 1})
    assert f"'{nearest}'" in str(error.value)


@pytest.mark.parametrize(("key", "nearest"), TYPOS)
def test_unknown_key_on_the_command_line_names_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=key) as error:
        parse_overrides([f"--{key}", "1"])
    assert f"the nearest is --{nearest} (" in str(error.value)


@pytest.mark.parametrize("key", ["", "zzzzzz", "???"])
def test_unknown_key_near_to_nothing_is_still_a_clear_error(key: str) -> None:
    with pytest.raises(ValueError, match="nearest"):
        get_config({key: 1})


@pytest.mark.parametrize(
    ("key", "value", "legal"),
    [
        ("epochs", "many", "whole number"),
        ("epochs", 1.5, "whole number"),
        ("epochs", "1.5", "whole number"),
        ("epochs", None, "whole number"),
        ("epochs", [3], "whole number"),
        ("epochs", float("inf"), "whole number"),
        ("epochs", float("nan"), "whole number"),
        ("lr", "fast", "number"),
        ("lr", None, "number"),
        ("lr", [0.1], "number"),
        ("use_user_llm", "maybe", "true or false"),
        ("use_user_llm", None, "true or false"),
        ("use_item_llm", 2, "true or false"),
        ("use_item_llm", [], "true or false"),
        ("data_dir", 3, "text"),
        ("data_dir", None, "text"),
        ("split", True, "text"),
        ("top_k", 10, "whole numbers"),
        ("top_k", "ten", "whole numbers"),
        ("top_k", ["a"], "whole numbers"),
        ("top_k", [1.5, 20], "whole numbers"),
        ("top_k", [None], "whole numbers"),
        ("top_k", [True, 20], "whole numbers"),
        ("top_k", "10,,20", "whole numbers"),
    ],
)
def test_wrong_type_names_key_value_and_legal_type(key: str, value: Any, legal: str) -> None:
    with pytest.raises(ValueError, match=key) as error:
        get_config({key: value})
    assert repr(value) in str(error.value)
    assert legal in str(error.value)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("key", INT_KEYS + FLOAT_KEYS)
def test_bool_is_no_number(key: str, value: bool) -> None:
    with pytest.raises(ValueError, match=f"{key} .*{value}"):
        get_config({key: value})


@pytest.mark.parametrize(("key", "value"), [("lr", 1), ("min_rate", 5), ("cold_item_ratio", 0), ("reg_lambda", 0)])
def test_whole_number_is_welcome_where_a_float_is_asked(key: str, value: int) -> None:
    assert type(get_config({key: value})[key]) is float


# --- choices and ranges ---


@pytest.mark.parametrize("key", CHOICES)
def test_illegal_choice_names_all_legal_ones(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} .*'bogus'") as error:
        get_config({key: "bogus"})
    assert [choice for choice in CHOICES[key] if choice not in str(error.value)] == []


@pytest.mark.parametrize(("key", "choice"), [(key, choice) for key, choices in CHOICES.items() for choice in choices])
def test_legal_choice_passes(key: str, choice: str) -> None:
    assert get_config({key: choice})[key] == choice


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embedding_dim", 0),
        ("num_layers", -1),
        ("epochs", 0),
        ("batch_size", 0),
        ("batch_size", -5),
        ("recommend_k", 0),
        ("lsa_dim", 0),
        ("max_seq_length", 0),
        ("encode_batch_size", 0),
        ("eval_memory_mb", 0),
        ("early_stop_round", -1),
        ("seed", -1),
        ("split_seed", -1),
        ("lr", 0.0),
        ("lr", -0.1),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("reg_lambda", -1e-9),
        ("reg_lambda", float("nan")),
        ("reg_lambda", float("inf")),
        ("init_std", 0.0),
        ("init_std", -1.0),
        ("min_rate", float("nan")),
        ("min_rate", float("inf")),
        ("valid_ratio", -0.1),
        ("valid_ratio", 1.0),
        ("valid_ratio", float("nan")),
        ("test_ratio", 0.0),
        ("test_ratio", 1.0),
        ("test_ratio", 1.5),
        ("cold_item_ratio", -0.1),
        ("cold_item_ratio", 1.0),
        ("cold_item_ratio", float("nan")),
        ("top_k", []),
        ("top_k", [0, 20]),
        ("top_k", [-5, 20]),
        ("top_k", ""),
    ],
)
def test_out_of_range_names_the_key(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        get_config({key: value})


def test_out_of_range_says_what_was_found_and_what_is_legal() -> None:
    with pytest.raises(ValueError, match=r"embedding_dim is -3\b.*at least 1"):
        get_config({"embedding_dim": -3})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_layers", 0),
        ("seed", 0),
        ("split_seed", 0),
        ("reg_lambda", 0.0),
        ("early_stop_round", 0),
        ("cold_item_ratio", 0.0),
        ("cold_item_ratio", 0.99),
        ("min_rate", 0.0),
        ("epochs", 1),
        ("embedding_dim", 1),
        ("valid_ratio", 0.0),
    ],
)
def test_ends_of_the_ranges_are_legal(key: str, value: Any) -> None:
    assert get_config({key: value})[key] == value


@pytest.mark.parametrize(("valid", "test"), [(0.5, 0.5), (0.9, 0.2)])
def test_ratios_must_leave_something_to_train_on(valid: float, test: float) -> None:
    with pytest.raises(ValueError, match="valid_ratio.*test_ratio"):
        get_config({"valid_ratio": valid, "test_ratio": test})


@pytest.mark.parametrize(
    "metric",
    [
        "NDCG@20",
        "Accuracy@5",
        "recall@5",
        "Recall@",
        "Recall",
        "",
        "auc",
        "liked NDCG@20",
        "liked Hit@5",
        "disliked NDCG@5",
    ],
)
def test_early_stop_metric_outside_top_k_names_the_legal_ones(metric: str) -> None:
    with pytest.raises(ValueError, match="early_stop_metric") as error:
        get_config({"top_k": [5, 10], "early_stop_metric": metric})
    assert [
        name
        for name in ("Recall@5", "NDCG@5", "Hit@5", "Recall@10", "NDCG@10", "Hit@10", "AUC", "loved Recall@10")
        if name not in str(error.value)
    ] == []


@pytest.mark.parametrize("metric", ["Recall@5", "NDCG@10", "Hit@5", "AUC", "liked NDCG@10", "loved Recall@5"])
def test_early_stop_metric_of_top_k_passes(metric: str) -> None:
    assert get_config({"top_k": [5, 10], "early_stop_metric": metric})["early_stop_metric"] == metric


def test_top_k_alone_takes_the_metric_along() -> None:
    assert get_config({"top_k": [5, 7]})["early_stop_metric"] == "NDCG@7"
    with pytest.raises(ValueError, match="early_stop_metric"):
        get_config({"top_k": [5], "early_stop_metric": "NDCG@20"})
