#!/usr/bin/env python3
"""Judges a bronze table from outside: PyIceberg and DuckDB read it, confluent-kafka reads the topic, nothing of Tapehouse runs.

    bronze.py CATALOG [WAREHOUSE] --table bronze.raw_trades [--expect-rows N]
              [--complete topic=raw.trades,bootstrap=127.0.0.1:9092] [--covered] [--filters COLUMN]... [--digest] [--foreign-rows N] [--ever-visible FILE]

Prints one JSON object; exit 0 when nothing is wrong, 3 when `violations` is not empty, 1 when it could not be judged.
--covered compares only offsets below the table's recorded next offsets (a job that was stopped early).
--filters checks that filtered scans find what is in the files (bounds in manifests can lie).
--digest adds a figure over all columns but those that tell when and by whom a row was written: two tables of one topic have the same.
--foreign-rows N: exactly N rows are of other engines and have no coordinates; all else is judged without them.
--ever-visible FILE: offsets (Parquet) that a consumer saw before compaction or retention took some: rows of these are no surplus.
"""

import argparse
import json
import sys
import time
from collections import Counter

from pyiceberg.expressions import EqualTo

from lake import connect, local_path, open_catalog
from ranges import check_files_in_ranges, check_gaps, check_ranges, read_state
from visible import visible_offsets

COORDINATES = ("topic_incarnation", "kafka_partition", "kafka_offset")
EXAMPLES = 5


class Judgement:
    """Collects figures and violations; each violation names its check."""

    def __init__(self):
        self.figures, self.violations = {}, []

    def violation(self, check, detail):
        self.violations.append({"check": check, "detail": detail})


def live_files(table, judgement):
    """{path: (snapshot id that added it, record count)} of the current snapshot; doubled and delete files are violations."""
    files, paths, deletes = {}, Counter(), 0
    snapshot = table.current_snapshot()
    manifests = snapshot.manifests(table.io) if snapshot else []
    for manifest, count in Counter(m.manifest_path for m in manifests).items():
        if count > 1:
            judgement.violation("I3 manifest listed twice", f"{manifest} x {count}")
    for manifest in manifests:
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            if int(entry.data_file.content) != 0:
                deletes += 1
                continue
            path = local_path(entry.data_file.file_path)
            paths[path] += 1
            files[path] = (entry.snapshot_id, entry.data_file.record_count)
    for path, count in paths.items():
        if count > 1:
            judgement.violation("I3 data file listed twice", f"{path} x {count}")
    if deletes:
        judgement.violation("bronze holds delete files", deletes)
    judgement.figures["data_files"] = len(files)
    judgement.figures["manifests"] = len(manifests)
    return files


def read_coordinates(db, table, judgement):
    """Reads the coordinates twice, by PyIceberg and by DuckDB, into the DuckDB tables by_pyiceberg and by_duckdb; they must agree."""
    columns = ", ".join(COORDINATES)
    reader = table.scan(selected_fields=COORDINATES).to_arrow_batch_reader()
    db.execute(f"CREATE TABLE by_pyiceberg AS SELECT {columns} FROM reader")
    if table.current_snapshot() is None:
        db.execute("CREATE TABLE by_duckdb AS SELECT * FROM by_pyiceberg")
    else:
        db.execute(f"CREATE TABLE by_duckdb AS SELECT {columns} FROM iceberg_scan('{table.metadata_location}')")
    digest = f"SELECT count(*), bit_xor(hash({columns})), sum(hash({columns})::HUGEINT) FROM "
    pyiceberg, duckdb = (db.execute(digest + name).fetchone() for name in ("by_pyiceberg", "by_duckdb"))
    judgement.figures.update(rows_pyiceberg=pyiceberg[0], rows_duckdb=duckdb[0])
    if pyiceberg != duckdb:
        judgement.violation("PyIceberg and DuckDB disagree", f"{pyiceberg[0]} and {duckdb[0]} rows")
    return pyiceberg[0]


def set_foreign_rows_aside(db, expected, judgement):
    """Rows of other engines have no coordinates: there must be as many as are known of. Returns their number."""
    columns = " AND ".join(f"{c} IS NULL" for c in COORDINATES)
    (foreign,) = db.execute(f"SELECT count(*) FROM by_pyiceberg WHERE {columns}").fetchone()
    if foreign != expected:
        judgement.violation("I1 rows without coordinates", f"{foreign}, of other engines are {expected}")
    if expected:
        db.execute(f"DELETE FROM by_pyiceberg WHERE {columns}")
    return foreign


def check_unique(db, judgement):
    """Each coordinate once, none null in part."""
    columns = ", ".join(COORDINATES)
    some, all_of = (word.join(f"{c} IS NULL" for c in COORDINATES) for word in (" OR ", " AND "))
    (partial,) = db.execute(f"SELECT count(*) FROM by_pyiceberg WHERE ({some}) AND NOT ({all_of})").fetchone()
    if partial:
        judgement.violation("I1 rows with some of the coordinates", partial)
    per_partition = db.execute("""
        SELECT topic_incarnation, kafka_partition, count(*), count(DISTINCT kafka_offset), min(kafka_offset), max(kafka_offset)
        FROM by_pyiceberg GROUP BY 1, 2 ORDER BY 1, 2""").fetchall()
    judgement.figures["partitions"] = [
        dict(incarnation=i, partition=p, rows=n, first=lo, last=hi) for i, p, n, _, lo, hi in per_partition]
    doubled = sum(n - distinct for _, _, n, distinct, _, _ in per_partition)
    judgement.figures["duplicates"] = doubled
    if doubled:
        examples = db.execute(f"SELECT {columns}, count(*) FROM by_pyiceberg GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT {EXAMPLES}").fetchall()
        judgement.violation("I1 duplicate coordinates", dict(rows=doubled, examples_incarnation_partition_offset_count=examples))


def check_complete(db, judgement, topic, bootstrap, incarnation, upto, ever_visible):
    """The rows of one incarnation against what a read_committed consumer sees; upto {partition: next offset} limits both sides.

    ever_visible: a file of offsets that a consumer saw earlier; None: what it sees now is all that there ever was.
    """
    started = time.monotonic()
    consumed = visible_offsets(bootstrap, topic)
    db.execute("CREATE TABLE visible AS SELECT * FROM consumed")
    judgement.figures.update(visible=consumed.num_rows, consume_seconds=round(time.monotonic() - started, 2))
    db.execute("CREATE TABLE covered (p INTEGER, next BIGINT)")
    if upto is not None:
        for partition, next_offset in upto.items():
            db.execute("INSERT INTO covered VALUES (?, ?)", [partition, next_offset])
        db.execute("DELETE FROM visible WHERE NOT EXISTS (SELECT 1 FROM covered WHERE p = kafka_partition AND kafka_offset < next)")
    db.execute("CREATE TABLE landed AS SELECT kafka_partition, kafka_offset FROM by_pyiceberg WHERE topic_incarnation = ?", [incarnation])
    db.execute("CREATE TABLE known AS SELECT * FROM visible")
    if ever_visible:
        db.execute("INSERT INTO known SELECT kafka_partition, kafka_offset FROM read_parquet(?)", [ever_visible])
    for check, left, right in (("I1 visible records missing from the table", "visible", "landed"),
                               ("I1 rows that no consumer sees", "landed", "known")):
        query = f"FROM {left} ANTI JOIN {right} USING (kafka_partition, kafka_offset)"
        (count,) = db.execute(f"SELECT count(*) {query}").fetchone()
        judgement.figures["missing" if left == "visible" else "surplus"] = count
        if count:
            examples = db.execute(f"SELECT * {query} ORDER BY ALL LIMIT {EXAMPLES}").fetchall()
            judgement.violation(check, dict(records=count, examples_partition_offset=examples))


def check_filters(db, table, files, column, judgement):
    """For the least, the greatest and some other values: filtered scans must find as many rows as the files hold."""
    db.execute(f'CREATE OR REPLACE TABLE tally AS SELECT "{column}" AS v, count(*) AS n FROM read_parquet(?) WHERE v IS NOT NULL GROUP BY 1', [list(files)])
    values = db.execute("""SELECT v, n FROM (FROM tally ORDER BY v LIMIT 1) UNION SELECT v, n FROM (FROM tally ORDER BY v DESC LIMIT 1)
                           UNION SELECT v, n FROM (FROM tally ORDER BY hash(v) LIMIT 4)""").fetchall()
    for value, expected in values:
        found = sum(b.num_rows for b in table.scan(row_filter=EqualTo(column, value), selected_fields=(column,)).to_arrow_batch_reader())
        (by_duckdb,) = db.execute(f"""SELECT count(*) FROM iceberg_scan('{table.metadata_location}') WHERE "{column}" = ?""", [value]).fetchone()
        if not found == by_duckdb == expected:
            judgement.violation("filtered scan loses or invents rows",
                                dict(column=column, value=value, in_files=expected, by_pyiceberg=found, by_duckdb=by_duckdb))
    judgement.figures[f"filters_{column}"] = len(values)


def digest(db, table):
    """Equal for tables with the same rows, in whatever files and order; each column is hashed under its name."""
    names = sorted(f.name for f in table.schema().fields if not f.name.startswith("ingestion_"))
    row = ", ".join(f"'{n}', \"{n}\"" for n in names)
    ours = "kafka_offset IS NOT NULL" if "kafka_offset" in names else "true"
    hashes = f"SELECT hash({row}) AS h FROM iceberg_scan('{table.metadata_location}') WHERE {ours}"
    count, xor, total = db.execute(f"SELECT count(*), bit_xor(h), sum(h::HUGEINT) FROM ({hashes})").fetchone()
    return f"{count}-{xor}-{total}"


def judge(args):
    """Runs every check that the arguments ask for."""
    judgement, started = Judgement(), time.monotonic()
    table = open_catalog(args.catalog, args.warehouse).load_table(args.table)
    db = connect()
    files = live_files(table, judgement)
    rows = read_coordinates(db, table, judgement)
    recorded = sum(count for _, count in files.values())
    if recorded != rows:
        judgement.violation("record counts in the manifests differ from the rows read", f"{recorded} and {rows}")
    rows -= set_foreign_rows_aside(db, args.foreign_rows, judgement)
    if args.expect_rows is not None and rows != args.expect_rows:
        judgement.violation("row count", f"expected {args.expect_rows}, found {rows}")
    check_unique(db, judgement)
    state = read_state(table, judgement)
    if not args.foreign:
        ranges = check_ranges(table, state, judgement)
        check_gaps(db, table, judgement)
        check_files_in_ranges(db, files, ranges, state, judgement)
    for column in args.filters:
        check_filters(db, table, files, column, judgement)
    if args.digest and table.current_snapshot() is not None:
        judgement.figures["digest"] = digest(db, table)
    if args.complete:
        incarnation = args.incarnation if args.incarnation is not None else state["incarnation"] if state else 0
        upto = {int(p): n for p, n in state["next"].items()} if args.covered and state else None
        check_complete(db, judgement, args.complete["topic"], args.complete["bootstrap"], incarnation, upto, args.ever_visible)
    judgement.figures["seconds"] = round(time.monotonic() - started, 2)
    return judgement


def key_values(text):
    """topic=T,bootstrap=B (a bootstrap list may hold commas)."""
    topic, separator, bootstrap = text.partition(",bootstrap=")
    if not separator or not topic.startswith("topic="):
        raise argparse.ArgumentTypeError("expected topic=T,bootstrap=HOST:PORT")
    return {"topic": topic.removeprefix("topic="), "bootstrap": bootstrap.strip()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog", help="path or sqlite:///path of a SQLite catalog, or postgresql://..., or http(s)://... of a REST catalog")
    parser.add_argument("warehouse", nargs="?", help="the warehouse's location; reading does not need it")
    parser.add_argument("--table", default="bronze.raw_trades")
    parser.add_argument("--expect-rows", type=int)
    parser.add_argument("--complete", type=key_values, help="topic=T,bootstrap=HOST:PORT: compare with what a consumer sees")
    parser.add_argument("--covered", action="store_true", help="compare only offsets below the recorded next offsets")
    parser.add_argument("--incarnation", type=int, help="incarnation of the topic that is in Kafka now (default: the recorded one)")
    parser.add_argument("--ever-visible", metavar="FILE", help="with --complete: offsets that were visible once")
    parser.add_argument("--filters", action="append", default=[], metavar="COLUMN")
    parser.add_argument("--digest", action="store_true", help="adds a figure over the content of all rows")
    parser.add_argument("--foreign-rows", type=int, default=0, metavar="N", help="rows of other engines, without coordinates")
    parser.add_argument("--foreign", action="store_true", help="the table was not written by Tapehouse: no ranges and state to check")
    judgement = judge(parser.parse_args())
    print(json.dumps({"ok": not judgement.violations, **judgement.figures, "violations": judgement.violations}))
    return 3 if judgement.violations else 0


if __name__ == "__main__":
    sys.exit(main())
