"""Prompts: the words that a model expects before a title or comment, and before a query."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from text.model_files import read_settings

AUTO = "auto"  # of a setting: what the model brings, or is known to need
OWN = "config_sentence_transformers.json"
# how models call their prompts; a folder saved by sentence-transformers 6 has an empty "document" beside its "passage"
DOCUMENT_KEYS = ("document", "passage", "search_document", "retrieval.passage", "retrieval.document", "corpus")
QUERY_KEYS = ("query", "search_query", "retrieval.query", "s2p_query")


class Prompts(NamedTuple):
    """What is put before a title or comment, and before a query."""

    document: str = ""
    query: str = ""


NO_PROMPTS = Prompts()
_SEARCH = "Represent this sentence for searching relevant passages: "
_TASK = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
# the end of a model's name -> what its authors say to put before texts; the first that is found counts
KNOWN = {
    r"qwen3[-_]embed": Prompts(query=_TASK),
    r"(e5|gte|sfr|linq)\b.*\binstruct|e5-mistral|sfr-embed|linq-embed": Prompts(query=f"{_TASK} "),
    r"(^|[^a-z0-9])e5($|[^a-z0-9])": Prompts("passage: ", "query: "),
    r"nomic-embed-text": Prompts("search_document: ", "search_query: "),
    r"embeddinggemma": Prompts("title: none | text: ", "task: search result | query: "),
    r"bge-(small|base|large)-zh": Prompts(query="为这个句子生成表示以用于检索相关文章："),
    r"bge-(small|base|large)($|[-:])": Prompts(query=_SEARCH),
    r"mxbai-embed": Prompts(query=_SEARCH),
    r"arctic-embed(2|.*v2)": Prompts(query="query: "),
    r"arctic-embed": Prompts(query=_SEARCH),
}


def prompts_of(config: dict[str, Any], folder: Path | None = None) -> Prompts:
    """Return the prompts of the encoder that a config names.

    Args:
        config: uses model_name, document_prompt and query_prompt.
        folder: that of the model, whose own prompts count before those that its name is known for; None without.
    """
    auto = (own_prompts(folder) if folder else None) or known_prompts(config["model_name"])
    asked = (config["document_prompt"], config["query_prompt"])
    return Prompts(*(mine if prompt == AUTO else prompt for prompt, mine in zip(asked, auto, strict=True)))


def own_prompts(folder: Path) -> Prompts | None:
    """Return the prompts that a folder of sentence-transformers brings; None if it brings none."""
    settings = read_settings(folder / OWN)
    found = settings.get("prompts")
    prompts = {key: text for key, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}
    usual = prompts.get(str(settings.get("default_prompt_name")), "")

    def of(keys: tuple[str, ...]) -> str:
        there = [prompts[key] for key in keys if key in prompts]
        return next(filter(None, there), "" if there else usual)

    own = Prompts(of(DOCUMENT_KEYS), of(QUERY_KEYS))
    return own if any(own) else None


def known_prompts(name: str) -> Prompts:
    """Return the prompts that a model of this name (a hub name, a folder, server:NAME) is known to need."""
    cached = re.search(r"models--([^/\\]+)[/\\]snapshots", name)
    last = re.split(r"[/\\]|--|^server:", cached[1] if cached else name.rstrip("/\\"))[-1].lower()
    return next((prompts for pattern, prompts in KNOWN.items() if re.search(pattern, last)), NO_PROMPTS)
