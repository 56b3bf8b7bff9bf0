#!/usr/bin/env python3
"""Judges a silver table that had rows before the first record of its bronze table: each row of the fold of bronze must be there as it is, and no row too many.

    seeded.py CATALOG --expect-rows N [--bronze bronze.raw_trades] [--silver silver.trades]

Rows of before carry event times before all of bronze. Read by DuckDB. Prints one JSON object; exit 0, 3 when `violations` is not empty, 1 when it could not judge.
"""

import argparse
import json
import sys

from lake import connect, open_catalog
from silver import RULES, fold, load_quarantine, scan


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalog")
    parser.add_argument("--expect-rows", type=int, required=True)
    parser.add_argument("--bronze", default="bronze.raw_trades")
    parser.add_argument("--silver", default="silver.trades")
    arguments = parser.parse_args()
    catalog = open_catalog(arguments.catalog)
    source, table = catalog.load_table(arguments.bronze), catalog.load_table(arguments.silver)
    db = connect()
    load_quarantine(db, catalog, arguments.silver)
    db.execute(f"CREATE TEMP TABLE expected AS {fold(scan(source), arguments.silver)}")
    names = ", ".join(column[0] for column in db.execute("SELECT * FROM expected LIMIT 0").description)
    keys = ", ".join(RULES[arguments.silver]()[0])
    rows = db.execute(f"SELECT count(*) FROM {scan(table)}").fetchone()[0]
    # All rows of the keys that bronze speaks of: each once, in its latest version.
    db.execute(f"CREATE TEMP TABLE found AS SELECT {names} FROM {scan(table)} SEMI JOIN expected USING ({keys})")
    violations = []
    if rows != arguments.expect_rows:
        violations.append({"check": "rows", "detail": f"{rows} instead of {arguments.expect_rows}"})
    for what, one, other in (("missing", "expected", "found"), ("surplus", "found", "expected")):
        count = db.execute(f"SELECT count(*) FROM (SELECT {names} FROM {one} EXCEPT ALL SELECT {names} FROM {other})").fetchone()[0]
        if count:
            violations.append({"check": what, "detail": f"{count} rows"})
    spoken_of = db.execute("SELECT count(*) FROM expected").fetchone()[0]
    print(json.dumps({"rows": rows, "expected": spoken_of, "violations": violations}))
    return 3 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
