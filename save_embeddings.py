"""Fill the vector cache ahead of training; main.py with the same settings then encodes nothing.

python save_embeddings.py [--preset NAME] [--key value ...]
"""

import sys

from runtime.cli import Flags, answer_early

if __name__ == "__main__":
    answer_early(Flags(__doc__, common=True))  # before the imports below, which take seconds

import logging

from config import get_config
from data_loader import load_dataset
from llm_embedding import text_vectors
from runtime.cli import parse_overrides, run_script
from runtime.distributed import resolve_device

log = logging.getLogger("aglrec")


def main() -> None:
    """Run the command line."""
    config = get_config(parse_overrides(sys.argv[1:]))
    vectors = text_vectors(load_dataset(config), config, str(resolve_device(config["device"])))
    if vectors.items is None:
        raise ValueError(
            "these settings use no text (fusion_mode none, or use_user_llm and use_item_llm false), so "
            "there is nothing to encode"
        )
    info = vectors.info
    log.info(
        f"{info['used']}: {len(vectors.items):,} items and {len(vectors.users):,} users, {info['dim']} numbers "
        f"each; {info['texts_encoded']:,} texts encoded in {info['seconds']:.1f} s, the rest were in the cache"
    )


if __name__ == "__main__":
    sys.exit(run_script(main))
