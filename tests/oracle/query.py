#!/usr/bin/env python3
"""query.py CATALOG TABLE SQL...: runs each SQL in DuckDB, where `t` is the Iceberg table, and prints a JSON list of the results' rows."""

import json
import sys

from lake import connect, open_catalog


def main():
    catalog, name, *queries = sys.argv[1:]
    table = open_catalog(catalog).load_table(name)
    db = connect()
    db.execute(f"CREATE VIEW t AS SELECT * FROM iceberg_scan('{table.metadata_location}')")
    print(json.dumps([db.execute(query).fetchall() for query in queries], default=str))


if __name__ == "__main__":
    main()
