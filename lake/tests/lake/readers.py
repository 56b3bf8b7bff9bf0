"""Reads (and writes) Tapehouse's tables with engines that share no code with it. Prints JSON."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "..", "tests", "oracle"))


def catalog(uri, warehouse):
    import lake

    return lake.open_catalog(uri, warehouse)


def pairs(arrow):
    # Rows of other engines have no coordinates; they come last, as DuckDB sorts them.
    rows = zip(arrow["kafka_partition"].to_pylist(), arrow["kafka_offset"].to_pylist())
    return sorted(rows, key=lambda row: [(value is None, value or 0) for value in row])


def read_all(uri, warehouse, name):
    """Every retained snapshot, by PyIceberg and by DuckDB; the current one also by DuckDB through the table's folder."""
    import lake

    table = catalog(uri, warehouse).load_table(name)
    db = lake.connect()
    columns = "kafka_partition, kafka_offset"
    location = lake.local_path(table.metadata_location)
    snapshots = []
    for snapshot in table.metadata.snapshots:
        by_pyiceberg = pairs(table.scan(snapshot_id=snapshot.snapshot_id, selected_fields=("kafka_partition", "kafka_offset")).to_arrow())
        by_duckdb = db.execute(
            f"SELECT {columns} FROM iceberg_scan('{location}', snapshot_from_id={snapshot.snapshot_id}) ORDER BY ALL"
        ).fetchall()
        snapshots.append({"sequence_number": snapshot.sequence_number, "pyiceberg": by_pyiceberg, "duckdb": by_duckdb})
    folder = lake.local_path(table.location())
    by_folder = db.execute(f"SELECT {columns} FROM iceberg_scan('{folder}') ORDER BY ALL").fetchall()
    filtered = db.execute(f"SELECT count(*) FROM iceberg_scan('{folder}') WHERE kafka_offset >= 3").fetchone()[0]
    refs = sorted(table.metadata.refs)
    inspected = table.inspect.files().num_rows
    return {"snapshots": snapshots, "by_folder": by_folder, "filtered": filtered, "refs": refs, "files": inspected}


def append(uri, warehouse, name, count):
    """PyIceberg appends rows of its own, without Kafka coordinates."""
    import pyarrow as pa
    import datetime

    table = catalog(uri, warehouse).load_table(name)
    schema = table.schema().as_arrow()
    rows = [{"symbol": f"F{n}", "ingestion_date": datetime.date(2026, 1, 5)} for n in range(int(count))]
    table.append(pa.Table.from_pylist(rows, schema=schema))
    return {"snapshot": table.current_snapshot().snapshot_id}


def create(uri, warehouse, name):
    """PyIceberg makes the catalog and a table in it."""
    import pyarrow as pa

    made = catalog(uri, warehouse)
    namespace = name.split(".")[:-1]
    for depth in range(1, len(namespace) + 1):
        made.create_namespace_if_not_exists(tuple(namespace[:depth]))
    table = made.create_table(name, pa.schema([("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())]))
    return {"location": table.metadata_location}


def read_quarantine(uri, warehouse, name):
    """Rows of each kind, by PyIceberg and by DuckDB."""
    import collections

    import lake

    table = catalog(uri, warehouse).load_table(name)
    kinds = collections.Counter(table.scan(selected_fields=("kind",)).to_arrow()["kind"].to_pylist())
    counted = lake.connect().execute(f"SELECT kind, count(*) FROM iceberg_scan('{table.metadata_location}') GROUP BY ALL").fetchall()
    return {"pyiceberg": dict(kinds), "duckdb": dict(counted)}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
