#!/usr/bin/env python3
"""query.py CATALOG_DB TABLE SQL...: runs each SQL in DuckDB, where `t` is the Iceberg table, and prints a JSON list of the results' rows."""

import json
import sys

from pyiceberg.catalog.sql import SqlCatalog

from lake import catalog_uri, connect


def main():
    catalog_db, name, *queries = sys.argv[1:]
    table = SqlCatalog("default", uri=catalog_uri(catalog_db)).load_table(name)
    db = connect()
    db.execute(f"CREATE VIEW t AS SELECT * FROM iceberg_scan('{table.metadata_location}')")
    print(json.dumps([db.execute(query).fetchall() for query in queries], default=str))


if __name__ == "__main__":
    main()
