"""A table as parquet beside the TSV files of a data folder: its columns read without parsing."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from runtime.files import atomic_write
from runtime.packings import kind_of
from runtime.safe_files import in_sentences
from runtime.workbooks import as_texts, needed

ENDING, KIND = ".parquet", "parquet file"


def is_parquet(path: Path) -> bool:
    """Tell whether a file is called, and begins, like parquet."""
    if path.suffix != ENDING:
        return False
    with path.open("rb") as file:
        kind = kind_of(file.read(512))
    return kind is not None and kind.name == KIND


def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a file."""
    with in_sentences(path, KIND):
        return _opened(path).schema_arrow.names


def read_columns(path: Path, columns: list[str], n_rows: int) -> Iterator[pd.DataFrame]:
    """Yield some columns as text, at most so many rows at a time; what is no text becomes it as in a CSV.

    Raises:
        ValueError: the file is damaged, or pyarrow is missing.
    """
    with in_sentences(path, KIND):
        for batch in _opened(path).iter_batches(n_rows, columns=columns):
            yield pd.DataFrame({name: _texts(batch.column(name)) for name in columns}, dtype=object)


def write_columns(path: Path, chunks: Iterable[pd.DataFrame]) -> None:
    """Write chunks of texts to a file, whole or not at all; a text that is there often is written once.

    Raises:
        ValueError: pyarrow is missing.
    """
    needed("pyarrow", path, "keep the table as TSV")
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        file, writer = stack.enter_context(atomic_write(path)), None
        for chunk in chunks:
            if writer is None:
                schema = pa.schema([(column, pa.string()) for column in chunk])
                writer = stack.enter_context(pq.ParquetWriter(file, schema, compression="zstd"))
            writer.write_table(pa.Table.from_pandas(chunk, schema, preserve_index=False))


def _opened(path: Path) -> Any:
    needed("pyarrow", path, "give the table as TSV")
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [field.name for field in pq.read_schema(path) if pa.types.is_string(field.type)]
    return pq.ParquetFile(path, read_dictionary=texts)


def _texts(column: Any) -> np.ndarray:
    """Turn a column of a batch into texts (n,)."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        kinds, codes = column.dictionary.to_pylist(), column.indices.fill_null(len(column.dictionary)).to_numpy(False)
    elif pa.types.is_nested(column.type):  # as tags in a list
        return np.array(as_texts(column.to_pylist()), object)
    else:
        codes, kinds = pd.factorize(np.fromiter(column.to_pylist(), object, len(column)), use_na_sentinel=False)
    return np.array([*as_texts(kinds), ""], object)[codes]
