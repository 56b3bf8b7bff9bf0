#!/usr/bin/env python3
"""Damages a bronze table as no test of ours should be able to overlook, by PyIceberg alone.

    damage.py CATALOG TABLE file-twice | rows-twice | row-lost | rolled-back | state-stripped

file-twice: a data file is referenced once more. rows-twice: the rows of one file are written again, to a file of their own. row-lost: one
row is deleted. rolled-back: an older snapshot is made current. state-stripped: the recorded offsets are removed from the properties.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "oracle"))

from pyiceberg.expressions import And, EqualTo
from pyiceberg.table.update import AssertRefSnapshotId, SetSnapshotRefUpdate

from lake import open_catalog


def live_files(table):
    """Data files of the current snapshot."""
    return [task.file for task in table.scan().plan_files()]


def roll_back(table):
    """Makes the parent of the current snapshot the current one."""
    current = table.current_snapshot()
    update = SetSnapshotRefUpdate(ref_name="main", type="branch", snapshot_id=current.parent_snapshot_id)
    with table.transaction() as transaction:
        transaction._apply((update,), (AssertRefSnapshotId(ref="main", snapshot_id=current.snapshot_id),))


def main():
    catalog, name, damage = sys.argv[1:]
    table = open_catalog(catalog).load_table(name)
    if damage == "file-twice":
        file = live_files(table)[0]
        with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
            append.append_data_file(file)
    elif damage == "rows-twice":
        table.append(table.scan(limit=5).to_arrow())
    elif damage == "row-lost":
        row = table.scan(selected_fields=("kafka_partition", "kafka_offset"), limit=1).to_arrow().to_pylist()[0]
        table.delete(And(EqualTo("kafka_partition", row["kafka_partition"]), EqualTo("kafka_offset", row["kafka_offset"])))
    elif damage == "rolled-back":
        roll_back(table)
    elif damage == "state-stripped":
        with table.transaction() as transaction:
            transaction.remove_properties("tapehouse.state")
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
