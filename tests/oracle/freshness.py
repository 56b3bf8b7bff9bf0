#!/usr/bin/env python3
"""How long after it was produced is a record visible? Measured by a reader that knows nothing of the writer.

    freshness.py CATALOG --table bronze.raw_trades --seconds 60 [--max-p50-ms 700] [--max-p99-ms 1200]

Polls the catalog (a SQLite database, postgresql://..., http://... of a REST catalog) every 50 ms; the first poll that sees a new metadata location is the moment when its new snapshots became
visible. Their added files are noted at once (a few kilobytes of manifests) and read after the last poll, so that reading disturbs nothing.
delay = first seen - kafka_timestamp. Records produced before the reader started (a backlog) are counted apart. Stops after --seconds
or at SIGINT/SIGTERM. Prints one JSON object; exit 0, 3 when a limit given is exceeded or nothing was seen, 1 when it could not measure.
"""

import argparse
import json
import os
import resource
import signal
import sqlite3
import sys
import time
import urllib.parse

import fastavro
import pyarrow as pa

from lake import catalog_uri, connect, local_path, open_file

ADDED = 1


def pointer_of(text, table, name):
    """What says where the table's newest metadata is, in the catalog that `text` names as lake.open_catalog takes it."""
    text, _, named = text.partition("#")
    key = (named or name, *table.rsplit(".", 1))
    if text.startswith(("http://", "https://")):
        return RestPointer(text, *key[1:])
    return (PostgresPointer if text.startswith("postgres") else SqlitePointer)(text, key)


class SqlitePointer:
    """The row of a SQLite catalog; opened for reading alone."""

    QUERY = "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?"

    def __init__(self, text, key):
        self.path, self.key, self.db = catalog_uri(text).removeprefix("sqlite:///"), key, None

    def location(self):
        """The table's metadata location, None while the table (or the whole catalog) does not exist."""
        if self.db is None:
            if not os.path.exists(self.path):
                return None
            self.db = sqlite3.connect(self.path, timeout=5, isolation_level=None)
            self.db.execute("PRAGMA query_only = 1")
        try:
            row = self.db.execute(self.QUERY, self.key).fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
        return row[0] if row else None


class PostgresPointer:
    """The same row in PostgreSQL."""

    def __init__(self, text, key):
        import psycopg2

        self.key, self.missing = key, psycopg2.errors.UndefinedTable
        self.db = psycopg2.connect("postgresql:" + text.partition(":")[2])
        self.db.autocommit = True

    def location(self):
        """As for SQLite."""
        with self.db.cursor() as cursor:
            try:
                cursor.execute(SqlitePointer.QUERY.replace("?", "%s"), self.key)
            except self.missing:
                return None
            row = cursor.fetchone()
        return row[0] if row else None


class RestPointer:
    """What a REST catalog answers; with the tag of what is known, so that nothing is sent twice."""

    def __init__(self, uri, namespace, name):
        import requests

        self.session, self.known, self.etag = requests.Session(), None, None
        self.session.trust_env = False
        config = self.session.get(f"{uri}/v1/config", timeout=10)
        config.raise_for_status()
        prefix = {**config.json().get("defaults", {}), **config.json().get("overrides", {})}.get("prefix")
        namespace = urllib.parse.quote("\x1f".join(namespace.split(".")), safe="")
        self.url = "/".join([uri, "v1", *([prefix] if prefix else []), "namespaces", namespace, "tables", urllib.parse.quote(name, safe="")])

    def location(self):
        """As for SQLite."""
        answer = self.session.get(self.url, headers={"If-None-Match": self.etag} if self.etag else {}, timeout=10)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        if answer.status_code != 304:
            self.known, self.etag = answer.json()["metadata-location"], answer.headers.get("ETag")
        return self.known


def snapshots_of(location):
    """{snapshot id: manifest list location} in a metadata file; of those that add rows: a rewrite shows none that were not visible before."""
    with open_file(location) as file:
        metadata = json.load(file)
    return {s["snapshot-id"]: s["manifest-list"] for s in metadata.get("snapshots") or [] if s.get("summary", {}).get("operation") != "replace"}


def added_files(snapshot, manifest_list):
    """The data files that this snapshot added: its own manifests' entries with status ADDED and this snapshot's id (null: inherited)."""
    paths = []
    with open_file(manifest_list) as file:
        manifests = [m["manifest_path"] for m in fastavro.reader(file) if m["added_snapshot_id"] == snapshot and m.get("content", 0) == 0]
    for manifest in manifests:
        with open_file(manifest) as file:
            paths += [local_path(e["data_file"]["file_path"]) for e in fastavro.reader(file)
                      if e["status"] == ADDED and e["snapshot_id"] in (None, snapshot)]
    return paths


def watch(catalog, seconds, poll_ms):
    """Polls until the time is up or a signal comes. Returns ([(path, first seen in ms)], [commit times in s], slowest gap between polls in ms)."""
    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.append(True))
    last, known, files, commits, slowest = catalog.location(), set(), [], [], 0.0
    if last:
        known = set(snapshots_of(last))
    end, polled = time.monotonic() + seconds, time.monotonic()
    while not stopped and time.monotonic() < end:
        location, seen = catalog.location(), time.time()
        if location is not None and location != last:
            snapshots = snapshots_of(location)
            for snapshot in snapshots.keys() - known:
                paths = added_files(snapshot, snapshots[snapshot])
                files += [(path, seen * 1000.0) for path in paths]
                commits += [seen] if paths else []
            last, known = location, set(snapshots)
        time.sleep(poll_ms / 1000.0)
        slowest, polled = max(slowest, time.monotonic() - polled), time.monotonic()
    return files, commits, slowest * 1000.0


def delays(files, column, since_ms):
    """Reads the noted files: (records, backlog records, p50, p90, p99, max in ms) of first seen - column."""
    db = connect()
    noted = pa.table({"filename": [f for f, _ in files], "seen_ms": pa.array([s for _, s in files], pa.float64())})
    db.execute(f"""CREATE TABLE delay AS SELECT seen_ms - epoch_us({column}) / 1000.0 AS ms, epoch_us({column}) / 1000.0 AS at_ms
                   FROM read_parquet(?, filename = true, hive_partitioning = false) JOIN noted USING (filename)""", [[f for f, _ in files]])
    return db.execute("""SELECT count(*) FILTER (at_ms >= $1), count(*) FILTER (at_ms < $1 OR at_ms IS NULL), quantile_cont(ms, 0.5) FILTER (at_ms >= $1),
                         quantile_cont(ms, 0.9) FILTER (at_ms >= $1), quantile_cont(ms, 0.99) FILTER (at_ms >= $1), max(ms) FILTER (at_ms >= $1) FROM delay""", [since_ms]).fetchone()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog")
    parser.add_argument("--table", default="bronze.raw_trades")
    parser.add_argument("--catalog-name", default="default")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--poll-ms", type=float, default=50.0)
    parser.add_argument("--column", default="kafka_timestamp", help="the time from which the delay counts")
    parser.add_argument("--max-p50-ms", type=float)
    parser.add_argument("--max-p99-ms", type=float)
    args = parser.parse_args()
    catalog = pointer_of(args.catalog, args.table, args.catalog_name)
    started_ms = time.time() * 1000.0
    print("watching", file=sys.stderr, flush=True)
    files, commits, slowest_ms = watch(catalog, args.seconds, args.poll_ms)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    reader_cpu_s = round(usage.ru_utime + usage.ru_stime, 2)
    records, backlog, *quantiles = delays(files, args.column, started_ms) if files else (0, 0, None, None, None, None)
    gaps = sorted(b - a for a, b in zip(commits, commits[1:]))
    result = dict(table=args.table, records=records, backlog_records=backlog, commits=len(commits), files=len(files))
    result.update(zip(("p50_ms", "p90_ms", "p99_ms", "max_ms"), (q if q is None else round(q, 1) for q in quantiles)))
    result.update(median_commit_gap_s=round(gaps[len(gaps) // 2], 3) if gaps else None, slowest_poll_ms=round(slowest_ms, 1),
                  reader_cpu_s=reader_cpu_s, load_1min=round(os.getloadavg()[0], 2))
    too_late = any(limit is not None and (result[key] is None or result[key] > limit)
                   for key, limit in (("p50_ms", args.max_p50_ms), ("p99_ms", args.max_p99_ms)))
    print(json.dumps({"ok": records > 0 and not too_late, **result}))
    return 0 if records > 0 and not too_late else 3


if __name__ == "__main__":
    sys.exit(main())
