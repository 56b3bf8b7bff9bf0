#!/usr/bin/env python3
"""What another engine does to a bronze table between our commits, by PyIceberg alone. Prints what was found and done as JSON.

    other_engine.py CATALOG TABLE CHANGE...

The changes are made in this order, each a commit of its own: `compact` rewrites all rows into one file a day (the row count must stay),
`append` adds ROWS rows without Kafka coordinates, `property` sets a table property.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "oracle"))

import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow

from lake import open_catalog

ROWS = 7
PROPERTY = "foreign.note"


def files(table):
    """Number of live data files."""
    return len(list(table.scan().plan_files()))


def compact(table):
    """Overwrites the table with its own rows."""
    rows, before = table.scan().to_arrow(), files(table)
    table.overwrite(rows)
    return dict(rows=rows.num_rows, files_before=before, files_after=files(table))


def append(table):
    """Rows of somebody else: an id, a partition value, nothing of Kafka."""
    schema = schema_to_pyarrow(table.schema())
    date = table.scan(selected_fields=("ingestion_date",), limit=1).to_arrow()["ingestion_date"][0].as_py()
    known = {"ingestion_date": date, "decode_error": "a row of another engine"}
    table.append(pa.Table.from_pylist([known] * ROWS, schema=schema))
    return dict(rows=ROWS)


def set_property(table):
    """A property that must survive our commits."""
    with table.transaction() as transaction:
        transaction.set_properties({PROPERTY: "kept"})
    return dict(name=PROPERTY)


CHANGES = {"compact": compact, "append": append, "property": set_property}


def main():
    catalog, name, *changes = sys.argv[1:]
    if not changes or not set(changes) <= set(CHANGES):
        raise SystemExit(__doc__)
    done = {}
    for change in changes:
        table = open_catalog(catalog).load_table(name)
        done[change] = CHANGES[change](table)
        done["snapshot"] = table.current_snapshot().snapshot_id
    print(json.dumps(done))


if __name__ == "__main__":
    main()
