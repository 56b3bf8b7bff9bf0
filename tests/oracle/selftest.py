#!/usr/bin/env python3
"""Do the oracles see what is wrong? Builds tables with PyIceberg, right and broken in one way each, and judges them; times commits of known delay.

    selftest.py            with KAFKA_BOOTSTRAP_SERVERS set, completeness is tried against that broker too (topic oracle.selftest is made)
"""

import datetime
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from unittest import mock

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMA = pa.schema([("symbol", pa.string()), ("kafka_topic", pa.string()), ("topic_incarnation", pa.int32()), ("kafka_partition", pa.int32()),
                    ("kafka_offset", pa.int64()), ("kafka_timestamp", pa.timestamp("us", "UTC"))])


class Lake:
    """A bronze table as Tapehouse would leave it, written by PyIceberg."""

    def __init__(self, folder, topic="t"):
        self.folder, self.topic, self.next, self.snapshot = folder, topic, {}, 0
        self.catalog = SqlCatalog("default", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
        self.catalog.create_namespace("bronze")
        self.table = self.catalog.create_table("bronze.raw_trades", SCHEMA)

    def state(self):
        return json.dumps(dict(snapshot=self.snapshot, owner="test", topic=self.topic, incarnation=0, next=self.next))

    def append(self, ranges, offsets=None, next_offsets=None, age_s=0.0):
        """One commit: a row for each offset of `ranges` {partition: [start, end]}, or for those given as [(partition, offset)]."""
        offsets = offsets if offsets is not None else [(p, o) for p, (start, end) in ranges.items() for o in range(start, end)]
        stamp = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age_s)
        rows = pa.Table.from_pylist([dict(symbol=f"S{o % 7}", kafka_topic=self.topic, topic_incarnation=0, kafka_partition=int(p), kafka_offset=o,
                                          kafka_timestamp=stamp) for p, o in offsets], schema=SCHEMA)
        self.next.update(next_offsets or {str(p): end for p, (_, end) in ranges.items()})
        self.snapshot += 1
        summary = {"tapehouse.topic": self.topic, "tapehouse.incarnation": "0", "tapehouse.ranges": json.dumps(ranges),
                   "tapehouse.rows": str(len(offsets)), "tapehouse.state": self.state()}
        with mock.patch("pyiceberg.table.metadata.TableMetadataV2.new_snapshot_id", lambda _: self.snapshot):
            with self.table.transaction() as transaction:
                transaction.append(rows, snapshot_properties=summary)
                transaction.set_properties({"tapehouse.state": self.state()})

    def judge(self, *arguments):
        """(exit code, the oracle's JSON)."""
        done = subprocess.run([sys.executable, os.path.join(HERE, "bronze.py"), f"{self.folder}/catalog.db", "--table", "bronze.raw_trades", *arguments],
                              capture_output=True, text=True, check=False)
        if not done.stdout:
            raise AssertionError(done.stderr)
        return done.returncode, json.loads(done.stdout)


class BronzeOracle(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.lake = Lake(scratch.name)
        self.lake.append({"0": [0, 50], "1": [0, 40]})

    def blames(self, check, *arguments):
        code, judgement = self.lake.judge(*arguments)
        self.assertEqual(code, 3, judgement)
        self.assertIn(check, " | ".join(v["check"] for v in judgement["violations"]))

    def test_good_table_passes(self):
        self.lake.append({"0": [50, 100], "1": [40, 40], "2": [0, 5]})
        self.lake.append({"0": [100, 110]}, offsets=[("0", 109)])
        code, judgement = self.lake.judge("--expect-rows", "146", "--filters", "symbol")
        self.assertEqual((code, judgement["violations"]), (0, []), judgement)
        self.assertEqual((judgement["rows_duckdb"], judgement["rows_pyiceberg"], judgement["duplicates"]), (146, 146, 0))

    def test_row_count(self):
        self.blames("row count", "--expect-rows", "91")

    def test_duplicate_row(self):
        self.lake.append({"0": [50, 60]}, offsets=[("0", o) for o in [*range(50, 60), 55]])
        self.blames("duplicate coordinates")

    def test_replayed_range(self):
        self.lake.append({"0": [40, 60]})
        self.blames("I2 ranges are not contiguous")

    def test_gap_between_ranges(self):
        self.lake.append({"0": [51, 60]})
        self.blames("I2 ranges are not contiguous")

    def test_row_outside_its_commits_range(self):
        self.lake.append({"0": [50, 60]}, offsets=[("0", 50), ("1", 40)], next_offsets={"0": 60, "1": 41})
        self.blames("outside the ranges of their own commit")

    def test_row_beyond_recorded_next(self):
        self.lake.append({"0": [50, 60]}, next_offsets={"0": 55})
        self.blames("beyond the recorded next offset")
        self.blames("I2 state and ranges disagree")

    def test_file_listed_twice(self):
        path = next(iter(self.lake.table.inspect.files().column("file_path").to_pylist()))
        self.lake.table.add_files([path], check_duplicate_files=False)
        self.blames("I3 data file listed twice")

    def test_foreign_rows(self):
        rows = self.lake.table.scan().to_arrow().slice(0, 2)
        for name in ("topic_incarnation", "kafka_partition", "kafka_offset"):
            at = rows.schema.get_field_index(name)
            rows = rows.set_column(at, rows.schema.field(at), pa.nulls(2, rows.schema.field(at).type))
        self.lake.table.append(rows)
        self.blames("I1 rows without coordinates", "--foreign-rows", "1")
        self.lake.append({"0": [50, 60]})
        code, judgement = self.lake.judge("--foreign-rows", "2", "--expect-rows", "100")
        self.assertEqual((code, judgement["violations"]), (0, []), judgement)

    def test_foreign_snapshot_above_the_recorded_one(self):
        self.lake.table.append(self.lake.table.scan().to_arrow().slice(0, 0))
        code, judgement = self.lake.judge("--expect-rows", "90")
        self.assertEqual((code, judgement["violations"]), (0, []), judgement)

    def test_state_of_another_snapshot(self):
        self.lake.append({"0": [50, 60]})
        self.lake.snapshot += 5
        with self.lake.table.transaction() as transaction:
            transaction.set_properties({"tapehouse.state": self.lake.state()})
        self.blames("state")

    def test_state_is_gone(self):
        with self.lake.table.transaction() as transaction:
            transaction.remove_properties("tapehouse.state")
        self.blames("state")


class FreshnessOracle(unittest.TestCase):
    """Commits of known delay: rows are stamped when `append` starts, so the delay is the append's own time plus at most one poll."""

    def watch(self, delay_s, *limits):
        with tempfile.TemporaryDirectory() as folder:
            lake = Lake(folder)
            lake.append({"0": [0, 10]})
            reader = subprocess.Popen([sys.executable, os.path.join(HERE, "freshness.py"), f"{folder}/catalog.db", "--seconds", "60", *limits],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertEqual(reader.stderr.readline(), "watching\n")
            time.sleep(0.2)
            for commit in range(1, 5):
                lake.append({"0": [commit * 10, commit * 10 + 10]}, age_s=delay_s)
            time.sleep(0.2)
            reader.terminate()
            out, err = reader.communicate(timeout=30)
            self.assertTrue(out, err)
            return reader.returncode, json.loads(out)

    def test_measures_the_delay(self):
        code, result = self.watch(0.0, "--max-p50-ms", "5000")
        self.assertEqual((code, result["records"], result["commits"], result["backlog_records"]), (0, 40, 4, 0), result)
        self.assertLess(result["p50_ms"], 5000)

    def test_old_records_are_a_backlog(self):
        code, result = self.watch(3600.0)
        self.assertEqual((code, result["records"], result["backlog_records"]), (3, 0, 40), result)

    def test_limit(self):
        self.assertEqual(self.watch(0.0, "--max-p50-ms", "1")[0], 3)


@unittest.skipUnless(os.environ.get("KAFKA_BOOTSTRAP_SERVERS"), "needs KAFKA_BOOTSTRAP_SERVERS")
class Completeness(unittest.TestCase):
    """A topic whose visible offsets have holes: control records and an aborted transaction."""

    def setUp(self):
        from confluent_kafka import Producer
        from confluent_kafka.admin import AdminClient, NewTopic
        self.bootstrap, self.topic = os.environ["KAFKA_BOOTSTRAP_SERVERS"], f"oracle.selftest.{uuid.uuid4()}"
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(self.topic, 1, 1)])[self.topic].result()
        self.addCleanup(lambda: admin.delete_topics([self.topic])[self.topic].result())
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": self.topic})
        producer.init_transactions()
        for commit in (True, False, True):
            producer.begin_transaction()
            for n in range(10):
                producer.produce(self.topic, struct.pack(">q", n), partition=0)
            producer.flush()
            producer.commit_transaction() if commit else producer.abort_transaction()
        self.visible = [*range(0, 10), *range(22, 32)]
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.lake = Lake(scratch.name, self.topic)

    def judge(self, offsets, *arguments):
        self.lake.append({"0": [0, 33]}, offsets=[("0", o) for o in offsets])
        return self.lake.judge("--complete", f"topic={self.topic},bootstrap={self.bootstrap}", *arguments)

    def test_complete(self):
        code, judgement = self.judge(self.visible)
        self.assertEqual((code, judgement["visible"], judgement["missing"], judgement["surplus"]), (0, 20, 0, 0), judgement)

    def test_missing_and_aborted(self):
        code, judgement = self.judge([*self.visible[1:], 15])
        self.assertEqual((code, judgement["missing"], judgement["surplus"]), (3, 1, 1), judgement)

    def test_stopped_early(self):
        self.lake.append({"0": [0, 10]})
        both = ("--complete", f"topic={self.topic},bootstrap={self.bootstrap}")
        self.assertEqual(self.lake.judge(*both)[1]["missing"], 10)
        self.assertEqual(self.lake.judge(*both, "--covered")[0], 0)


TRADE = pa.schema([("trade_id", pa.string()), ("symbol", pa.string()), ("price", pa.float64()), ("quantity", pa.float64()), ("side", pa.string()),
                   ("trader_id", pa.string()), ("exchange", pa.string()), ("trade_timestamp", pa.timestamp("us", "UTC")),
                   ("event_timestamp", pa.timestamp("us", "UTC"))])
PLACE = [("topic_incarnation", pa.int32()), ("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())]
BRONZE = pa.schema([*TRADE, *PLACE, ("kafka_timestamp", pa.timestamp("us", "UTC")), ("decode_error", pa.string())])
SILVER = pa.schema([*TRADE, ("trade_date", pa.date32()), ("needs_review", pa.bool_()), *PLACE])
# 23:30 in New York on 7 July, the next day in UTC.
LATE = datetime.datetime(2026, 7, 8, 3, 30, tzinfo=datetime.timezone.utc)


def trade(offset, trade_id, price, event_s, **others):
    row = dict(trade_id=trade_id, symbol=" aapl ", price=price, quantity=1.0, side="buy", trader_id="X", exchange="N", trade_timestamp=LATE,
               event_timestamp=LATE + datetime.timedelta(seconds=event_s), topic_incarnation=0, kafka_partition=0, kafka_offset=offset,
               kafka_timestamp=LATE, decode_error=None)
    return {**row, **others}


QUARANTINE = pa.schema([("kind", pa.string()), ("source_table", pa.string()), ("id", pa.string()), *PLACE, ("rule", pa.string()), ("decision", pa.string())])


def aside(offset, rule, decision=None):
    """A row of ops.quarantine."""
    return dict(kind="decision" if decision else "row", source_table="silver.trades", id=f"trades-0-0-{offset}", topic_incarnation=0, kafka_partition=0,
                kafka_offset=offset, rule=rule, decision=decision)


def silver(offset, trade_id, price, event_s, **others):
    """The same as silver has it."""
    row = {**trade(offset, trade_id, price, event_s), "symbol": "AAPL", "side": "BUY", "trade_date": datetime.date(2026, 7, 7), "needs_review": False}
    return {name: value for name, value in {**row, **others}.items() if name in SILVER.names}


class SilverOracle(unittest.TestCase):
    RECEIVED = [
        trade(0, "T001", 150.25, 0), trade(1, "T001", 150.30, 5), trade(2, "T001", 149.0, 3), trade(3, None, 1.0, 0), trade(4, "", 1.0, 0),
        trade(5, "T002", None, 0), trade(6, "T003", 1.0, 0, side="hold"), trade(7, "T004", -1.0, 0), trade(8, None, None, 0, decode_error="truncated"),
        trade(9, "T005", 1.0, 7), trade(10, "T005", 2.0, 7), trade(11, "T006", float("nan"), 0),
        trade(12, "T007", 1.0, 0, trade_timestamp=LATE + datetime.timedelta(days=2)),
    ]
    ASIDE = [aside(6, "unknown_side"), aside(7, "negative"), aside(11, "not_finite"), aside(12, "after_record")]
    RIGHT = [silver(1, "T001", 150.30, 5), silver(5, "T002", 0.0, 0, needs_review=True), silver(10, "T005", 2.0, 7)]

    def judge(self, rows, quarantine=None):
        quarantine = self.ASIDE if quarantine is None else quarantine
        with tempfile.TemporaryDirectory() as folder:
            catalog = SqlCatalog("default", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
            for name, schema, content in (("bronze.raw_trades", BRONZE, self.RECEIVED), ("silver.trades", SILVER, rows), ("ops.quarantine", QUARANTINE, quarantine)):
                catalog.create_namespace(name.partition(".")[0])
                catalog.create_table(name, schema).append(pa.Table.from_pylist(content, schema=schema))
            done = subprocess.run([sys.executable, os.path.join(HERE, "silver.py"), f"{folder}/catalog.db"], capture_output=True, text=True, check=False)
            self.assertTrue(done.stdout, done.stderr)
            return done.returncode, " | ".join(violation["check"] for violation in json.loads(done.stdout)["violations"])

    def test_the_fold_passes(self):
        self.assertEqual(self.judge(self.RIGHT), (0, ""))

    def test_decisions_are_part_of_it(self):
        replayed = [*self.RIGHT, silver(7, "T004", -1.0, 0), silver(6, "T003", 1.0, 0, side="hold")]
        decisions = [aside(7, "negative", "replay"), aside(6, "unknown_side", "replay"), aside(12, "after_record", "drop")]
        self.assertEqual(self.judge(replayed, self.ASIDE + decisions), (0, ""))
        # A record has other rules too, and what is not waived stays.
        self.assertEqual(self.judge(self.RIGHT, [*self.ASIDE, aside(7, "unknown_side", "replay"), aside(11, "not_finite", "replay"), aside(12, "after_record", "drop")])[0], 3)
        self.assertEqual(self.judge(self.RIGHT, self.ASIDE + decisions)[0], 3)
        self.assertEqual(self.judge(replayed)[0], 3)

    def test_what_is_set_aside_is_recorded_once(self):
        for quarantine, blamed in ((self.ASIDE[1:], "missing"), ([*self.ASIDE, self.ASIDE[0]], "twice"), ([*self.ASIDE, aside(1, "negative")], "surplus")):
            code, checks = self.judge(self.RIGHT, quarantine)
            self.assertEqual((code, f"ops.quarantine of silver.trades: {blamed}" in checks), (3, True), checks)

    def test_what_is_not_the_fold_is_blamed(self):
        first, second, third = self.RIGHT
        both, surplus, missing = ("missing", "surplus"), ("surplus",), ("missing",)
        for rows, blamed in (
            ([silver(2, "T001", 149.0, 3), second, third], both),
            ([first, second, silver(9, "T005", 1.0, 7)], both),
            ([first, first, second, third], surplus),
            ([first, second], missing),
            ([*self.RIGHT, silver(3, "", 1.0, 0)], surplus),
            ([{**first, "trade_date": datetime.date(2026, 7, 8)}, second, third], both),
            ([{**first, "symbol": " aapl "}, second, third], both),
            ([first, {**second, "needs_review": False}, third], both),
        ):
            code, checks = self.judge(rows)
            self.assertEqual(code, 3, rows)
            for reader in ("found", "by_pyiceberg"):
                for what in ("missing", "surplus"):
                    self.assertEqual(f"{what}, {reader}" in checks, what in blamed, (checks, rows))


class Activity(unittest.TestCase):
    """silver.trader_activity, made by hand from trades of one trader and hour, and of others."""

    TRADES = pa.schema([("trader_id", pa.string()), ("symbol", pa.string()), ("price", pa.float64()), ("quantity", pa.float64()),
                        ("trade_timestamp", pa.timestamp("us", "UTC")), ("needs_review", pa.bool_())])
    ACTIVITY = pa.schema([("trader_id", pa.string()), ("activity_hour", pa.timestamp("us", "UTC")), ("trade_count", pa.int64()),
                          ("total_volume", pa.float64()), ("total_notional", pa.float64()), ("distinct_symbols", pa.int64()), ("activity_date", pa.date32())])
    RECEIVED = [("A", "X", 0.1, 1.0, LATE, False), ("A", "X", 0.2, 1.0, LATE, False), ("A", "Y", 0.3, 1.0, LATE + datetime.timedelta(minutes=29), False),
                ("A", "X", 1.0, 1.0, LATE, True), (None, "X", 1.0, 1.0, LATE, False), ("B", "X", 2.0, 3.0, LATE + datetime.timedelta(minutes=30), False)]
    HOUR = LATE - datetime.timedelta(minutes=30)
    RIGHT = [("A", HOUR, 3, 3.0, 0.6, 2, datetime.date(2026, 7, 7)), ("B", HOUR + datetime.timedelta(hours=1), 1, 3.0, 6.0, 1, datetime.date(2026, 7, 8))]

    def judge(self, rows):
        with tempfile.TemporaryDirectory() as folder:
            catalog = SqlCatalog("default", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
            catalog.create_namespace("silver")
            for name, schema, content in (("silver.trades", self.TRADES, self.RECEIVED), ("silver.trader_activity", self.ACTIVITY, rows)):
                listed = [dict(zip(schema.names, row, strict=True)) for row in content]
                catalog.create_table(name, schema).append(pa.Table.from_pylist(listed, schema=schema))
            done = subprocess.run([sys.executable, os.path.join(HERE, "activity.py"), f"{folder}/catalog.db"], capture_output=True, text=True, check=False)
            self.assertTrue(done.stdout, done.stderr)
            return done.returncode, len(json.loads(done.stdout)["violations"])

    def test_what_the_trades_say_passes(self):
        self.assertEqual(self.judge(self.RIGHT), (0, 0))

    def test_anything_else_is_blamed_by_both_readers(self):
        first, second = self.RIGHT
        wrong = [[first], [first, second, second], [second, (*first[:2], 4, *first[3:])], [second, (*first[:4], 0.1 + 0.2 + 0.3, *first[5:])],
                 [second, (*first[:5], 3, first[6])], [second, (*first[:6], datetime.date(2026, 7, 8))], [*self.RIGHT, ("C", *first[1:])]]
        for rows in wrong:
            self.assertEqual(self.judge(rows), (3, 2), rows)


if __name__ == "__main__":
    unittest.main()
