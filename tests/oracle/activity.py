#!/usr/bin/env python3
"""Judges silver.trader_activity from outside: DuckDB groups silver.trades in SQL and compares row by row with what the table holds, as DuckDB and as PyIceberg read it. Sums are compared with exact ones, rounded once, which Python computes.

    activity.py CATALOG [WAREHOUSE]

Prints one JSON object; exit 0 when nothing is wrong, 3 when `violations` is not empty, 1 when it could not be judged.
"""

import argparse
import json
import math
import sys

from lake import connect, local_path, open_catalog

SOURCE, TABLE = "silver.trades", "silver.trader_activity"
EXAMPLES = 5
# The hour begins where the seconds since 1970 are a multiple of 3,600: that is UTC whatever DuckDB's own time zone is.
EXPECTED = """
    SELECT trader_id, epoch_us(trade_timestamp) // 3600000000 * 3600000000 AS hour_us, count(*) AS trade_count, list(quantity) AS quantities,
        list(price * quantity) AS notionals, count(DISTINCT symbol) AS distinct_symbols,
        timezone('America/New_York', trade_timestamp)::DATE AS activity_date
    FROM iceberg_scan('{source}') WHERE NOT needs_review AND trader_id IS NOT NULL GROUP BY ALL"""
FOUND = """
    SELECT trader_id, epoch_us(activity_hour) AS hour_us, trade_count, total_volume, total_notional, distinct_symbols, activity_date
    FROM {table}"""


def as_rows(rows):
    """Rows by key, and how many there are: two of one key are one too many."""
    return {(row[0], row[1]): row[2:] for row in rows}, len(rows)


def judge(db, catalog):
    source, table = catalog.load_table(SOURCE), catalog.load_table(TABLE)
    expected = {}
    for trader, hour, count, quantities, notionals, symbols, date in db.execute(EXPECTED.format(source=local_path(source.metadata_location))).fetchall():
        expected[trader, hour] = (count, math.fsum(quantities), math.fsum(notionals), symbols, date)
    db.register("by_pyiceberg", table.scan().to_arrow())
    figures, violations = {"expected": len(expected)}, []
    readers = {"duckdb": f"iceberg_scan('{local_path(table.metadata_location)}')", "pyiceberg": "by_pyiceberg"}
    for reader, relation in readers.items():
        found, rows = as_rows(db.execute(FOUND.format(table=relation)).fetchall())
        figures[reader] = rows
        differing = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
        if differing or rows != len(found):
            examples = [f"{key}: {found.get(key)} instead of {expected.get(key)}" for key in differing[:EXAMPLES]]
            violations.append({"check": f"{TABLE}, {reader}", "detail": f"{len(differing)} rows differ, {rows - len(found)} keys twice, for instance {examples}"})
    return figures, violations


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalog")
    parser.add_argument("warehouse", nargs="?")
    arguments = parser.parse_args()
    catalog = open_catalog(arguments.catalog, arguments.warehouse)
    figures, violations = judge(connect(), catalog)
    print(json.dumps({"tables": {TABLE: figures}, "violations": violations}))
    return 3 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
