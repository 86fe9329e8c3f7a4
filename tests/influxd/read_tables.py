"""Prints the points of exported tables as a program reads them.

    read_tables.py PROGRAM PARQUET_DIRECTORY [CSV_DIRECTORY]

Of each file a line with its metadata, then a line for each row: the time in nanoseconds, and the
type and the text of each cell that is not null. What types the columns of CSV files have, the
metadata of the Parquet files of the same names says.
"""

import json
import pathlib
import sys


def metadata(path):
    import pyarrow.parquet

    pairs = pyarrow.parquet.read_metadata(path).metadata
    return {key.decode(): value.decode() for key, value in pairs.items() if key != b"ARROW:schema"}


def duckdb_rows(source, parameters=None):
    import duckdb

    # All columns at once: with as many threads as there are processors, a wide table needs much memory.
    connection = duckdb.connect(config={"threads": 1})
    found = connection.execute(f"SELECT * REPLACE (epoch_ns(time) AS time) FROM {source}", parameters)
    return [column[0] for column in found.description], found.fetchall()


def duckdb_parquet(path):
    return duckdb_rows("read_parquet(?)", [str(path)])


def duckdb_csv(path, about):
    kinds = {"float": "DOUBLE", "integer": "BIGINT", "boolean": "BOOLEAN", "string": "VARCHAR"}
    types = {tag: "VARCHAR" for tag in json.loads(about["influxdb.tags"])}
    types |= {name: kinds[of] for name, of in json.loads(about["influxdb.fields"]).items()}
    types["time"] = "TIMESTAMP_NS"
    return duckdb_rows(
        "read_csv(?, header = true, allow_quoted_nulls = false, types = ?)", [str(path), types]
    )


def pyarrow_parquet(path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    times = table.column("time")
    assert times.type.unit == "ns", times.type
    columns = [table.column(at).to_pylist() for at in range(1, table.num_columns)]
    return table.column_names, zip(times.cast(pyarrow.int64()).to_pylist(), *columns)


def polars_parquet(path):
    import polars

    frame = polars.read_parquet(path, hive_partitioning=False)
    assert frame.schema["time"].time_unit == "ns", frame.schema["time"]
    frame = frame.with_columns(polars.col("time").dt.epoch("ns"))
    return frame.columns, frame.iter_rows()


def cell(value):
    kinds = {bool: "boolean", int: "integer", float: "float", str: "string"}
    return [kinds[type(value)], str(value).lower() if isinstance(value, bool) else str(value)]


def main(program, parquet, csv=None):
    parquet = pathlib.Path(parquet)
    for path in sorted(parquet.rglob("*.parquet")):
        about = metadata(path)
        print(json.dumps(about))
        if csv:
            twin = pathlib.Path(csv) / path.relative_to(parquet).with_suffix(".csv")
            names, rows = duckdb_csv(twin, about)
        else:
            names, rows = globals()[program + "_parquet"](path)
        assert names[0] == "time", names[:5]
        for row in rows:
            cells = zip(names[1:], row[1:])
            print(json.dumps([row[0], {name: cell(value) for name, value in cells if value is not None}]))


main(*sys.argv[1:])
