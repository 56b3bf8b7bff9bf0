#!/usr/bin/env python3
"""What does a full scan of a table cost DuckDB, against a compacted Iceberg copy of the same rows, one file a partition?

    scan_cost.py CATALOG --table silver.trades [--runs 5]

The copy is made by PyIceberg from the snapshot that is current when this starts; then both are scanned in turn, every column, and the medians
compared. Prints one JSON object; exit 0, 3 when both do not hold the same rows, 1 when it could not measure.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time

from pyiceberg.catalog.sql import SqlCatalog

from lake import connect, local_path, open_catalog


def copy_of(db, table, folder):
    """A new table with the same rows, a file a partition."""
    catalog = SqlCatalog("copy", uri=f"sqlite:///{folder}/copy.db", warehouse=f"file://{folder}")
    catalog.create_namespace("copy")
    (field,) = table.spec().fields
    schema = table.schema().as_arrow()
    copy = catalog.create_table("copy.copy", schema=schema)
    with copy.update_spec() as update:
        update.add_identity(field.name)
    source = f"iceberg_scan('{local_path(table.metadata_location)}')"
    # Some days at a time: the memory of one append.
    days = [day for (day,) in db.execute(f"SELECT DISTINCT {field.name} FROM {source} ORDER BY 1").fetchall()]
    for day in days:
        rows = db.execute(f"SELECT * FROM {source} WHERE {field.name} = ?", [day]).to_arrow_table()
        copy.append(rows.cast(copy.schema().as_arrow()))
    return copy


def scan(columns, table):
    """A query that reads every value."""
    sums = [f"sum(hash({column}))" for column in columns]
    return f"SELECT count(*), {', '.join(sums)} FROM iceberg_scan('{local_path(table.metadata_location)}')"


def timed(db, query):
    started = time.monotonic()
    answer = db.execute(query).fetchall()
    return time.monotonic() - started, answer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalog")
    parser.add_argument("--table", required=True)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    table = open_catalog(arguments.catalog).load_table(arguments.table)
    db = connect()
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of(db, table, folder)
        columns = [field.name for field in table.schema().fields]
        queries = [scan(columns, table), scan(columns, copy)]
        taken = [[], []]
        answers = [None, None]
        # The first round warms the page cache, and is not counted.
        for run in range(arguments.runs + 1):
            for which, query in enumerate(queries):
                seconds, answers[which] = timed(db, query)
                if run:
                    taken[which].append(seconds)
        files = table.inspect.files().column("content").to_pylist()
        copied = len(copy.inspect.files())
    medians = [statistics.median(seconds) for seconds in taken]
    violations = [] if answers[0] == answers[1] else [{"check": "same rows", "detail": f"{answers[0][0][0]} and {answers[1][0][0]}"}]
    print(json.dumps({
        "rows": answers[0][0][0], "data_files": files.count(0), "delete_files": len(files) - files.count(0), "copy_files": copied,
        "table_s": round(medians[0], 4), "copy_s": round(medians[1], 4), "ratio": round(medians[0] / medians[1], 3), "violations": violations}))
    return 3 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
