"""Tables of all kinds of columns for tests."""

import numpy as np
import pandas as pd


def mixed_columns(n=300, seed=0):
    """Return columns of all kinds whose types need pandas alone, without missing cells."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2020-03-01 12:00")
    seconds = pd.to_timedelta(rng.integers(0, 10**8, n), unit="s")
    small = rng.integers(1, 4, n)
    return {
        "wage": 2e5 + 1e5 * rng.normal(size=n),
        "tiny": 1e-12 * rng.normal(size=n),
        "skewed": np.exp(2 * rng.normal(size=n)),
        "narrow": rng.normal(size=n).astype(np.float32),
        "decimal": np.round(rng.normal(size=n), 1),
        "count": rng.poisson(4, n).astype(np.int32),
        "serial": rng.integers(2**60, 2**60 + 10**6, n),
        "byte": rng.integers(0, 250, n).astype(np.uint8),
        "code": small,
        "gain": np.where(rng.random(n) < 0.5, 0.0, np.round(100 * rng.random(n), 2)),
        "constant": np.full(n, 1e5),
        "flag": rng.random(n) < 0.3,
        "word": rng.choice(["red", "green", "blue"], n).tolist(),
        "moment": start + seconds,
        "zoned": (start + seconds).tz_localize("UTC").tz_convert("Europe/Berlin"),
        "span": seconds,
    }


def mixed_frame(n=300, seed=0):
    """Return a frame of pandas' with further types of its own."""
    frame = pd.DataFrame(mixed_columns(n, seed))
    rng = np.random.default_rng(seed + 1)
    mixture = [1, True, "1", 2.5]
    return frame.assign(
        nullable=pd.array(rng.integers(0, 50, n), dtype="Int64"),
        nullable_float=pd.array(rng.normal(size=n), dtype="Float32"),
        nullable_flag=pd.array(rng.random(n) < 0.5, dtype="boolean"),
        nullable_word=pd.array(rng.choice(["a", "b"], n), dtype="string"),
        letter=pd.Categorical(rng.choice(list("xyz"), n), categories=list("zyxw")),
        size=pd.Categorical(rng.choice(list("SML"), n), categories=list("SMLX"), ordered=True),
        number=pd.Categorical(rng.integers(1, 4, n)),
        mixture=pd.Series([mixture[k] for k in rng.integers(0, 4, n)], dtype=object),
        numbers=pd.Series(rng.integers(0, 30, n).tolist(), dtype=object),
    )


def as_polars(n=300, seed=0):
    """Return a frame of polars'."""
    import polars as pl

    frame = pl.from_pandas(pd.DataFrame(mixed_columns(n, seed)))
    return frame.with_columns(
        pl.col("decimal").cast(pl.Decimal(10, 2)).alias("money"),
        pl.col("word").cast(pl.Enum(["blue", "green", "red", "pink"])).alias("enum"),
        pl.col("word").cast(pl.Categorical).alias("categorical"),
        pl.col("moment").cast(pl.Date).alias("day"),
    )


def as_pyarrow(n=300, seed=0):
    """Return a table of pyarrow's."""
    import pyarrow as pa

    columns = mixed_columns(n, seed)
    table = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
    sizes = pa.array([{"red": 2, "green": 0, "blue": 1}[word] for word in columns["word"]])
    labels = pa.array(["S", "M", "L", "X"])
    table = table.replace_schema_metadata(None)
    ordered = pa.DictionaryArray.from_arrays(sizes.cast(pa.int8()), labels, ordered=True)
    money = table["decimal"].cast(pa.decimal128(20, 2), safe=False)
    table = table.append_column("size", ordered).append_column("money", money)
    table = table.append_column("large", table["word"].cast(pa.large_string()))
    return table.append_column("day", table["moment"].cast(pa.date32(), safe=False))


def draws_of(parts):
    """Return stored parts as draws: the position of a value, or y; 0 where missing."""
    return [np.nan_to_num(part[:, :1]) for part in parts]


def log_normal(y):
    """Return the log-density of the standard normal distribution."""
    return -0.5 * y**2 - 0.5 * np.log(2 * np.pi)
