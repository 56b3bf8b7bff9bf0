#!/usr/bin/env python3
"""What another engine does to a bronze table between our commits, by PyIceberg alone.

    foreign.py CATALOG TABLE append N | delete N | add-column NAME | rename-column NAME NEW | drop-column NAME

append: N rows without Kafka coordinates. delete: the rows of the N lowest offsets of partition 0. Prints how often it lost the race for
the table.
"""

import os
import sys
import time

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import And, EqualTo, LessThan

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle"))

from lake import open_catalog  # noqa: E402

ATTEMPTS = 200


def change(table, action, arguments):
    """One attempt."""
    if action == "append":
        rows = [dict(symbol="FOREIGN", exchange="ELSEWHERE") for _ in range(int(arguments[0]))]
        schema = table.schema().as_arrow()
        columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
        table.append(pa.Table.from_arrays(columns, schema=schema))
    elif action == "delete":
        table.delete(And(EqualTo("kafka_partition", 0), LessThan("kafka_offset", int(arguments[0]))))
    else:
        with table.update_schema(allow_incompatible_changes=True) as update:
            if action == "add-column":
                from pyiceberg.types import StringType

                update.add_column(arguments[0], StringType())
            elif action == "rename-column":
                update.rename_column(*arguments)
            elif action == "drop-column":
                update.delete_column(arguments[0])
            else:
                raise SystemExit(__doc__)


def main():
    catalog, name, action, *arguments = sys.argv[1:]
    catalog = open_catalog(catalog)
    for attempt in range(ATTEMPTS):
        try:
            change(catalog.load_table(name), action, arguments)
            print(attempt)
            return
        except CommitFailedException:
            time.sleep(0.02)
    raise SystemExit(f"lost the race for the table {ATTEMPTS} times")


if __name__ == "__main__":
    main()
