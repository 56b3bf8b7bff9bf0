#!/usr/bin/env python3
"""Judges silver tables from outside: DuckDB folds the bronze table by the rules of the contract, in SQL, and compares with what silver holds, as DuckDB and as PyIceberg read it.

    silver.py CATALOG [WAREHOUSE] [--bronze bronze.raw_trades --silver silver.trades]...

What was decided about rows set aside stands in ops.quarantine: a rule that is waived for a record does not hold for it. That table must have each row that is set aside, once.

Without pairs: the three tables of market data, as far as they exist. Prints one JSON object; exit 0 when nothing is wrong, 3 when `violations` is not empty, 1 when it could not be judged.
"""

import argparse
import json
import sys

from lake import connect, local_path, open_catalog

PAIRS = (
    ("bronze.raw_trades", "silver.trades"),
    ("bronze.raw_orderbook", "silver.orderbook_snapshots"),
    ("bronze.raw_marketdata", "silver.market_data"),
)
COORDINATES = "topic_incarnation, kafka_partition, kafka_offset"
EXAMPLES = 5


def new_york(column):
    return f"timezone('America/New_York', {column})::DATE"


def waived(rule):
    return f"coalesce(list_contains(waived_rules, '{rule}'), false)"


def is_sound_time(column):
    """The row's own timestamp: there, not before the first day, not more than a day after the record."""
    return (
        f"{column} IS NOT NULL AND {new_york(column)} >= DATE '2024-01-01' "
        f"AND (coalesce({column} <= kafka_timestamp + INTERVAL 1 DAY, true) OR {waived('after_record')} AND {new_york(column)} < DATE '2100-01-01')"
    )


def are_amounts(*columns):
    return " AND ".join(f"coalesce(isfinite({column}) AND ({column} >= 0 OR {waived('negative')}), true)" for column in columns)


def are_levels(*columns):
    def holds(level):
        return " AND ".join(f"coalesce(len(list_filter({column}, lambda level: NOT coalesce({level}, true))) = 0, true)" for column in columns)
    return f"{holds('isfinite(level.price) AND isfinite(level.size)')} AND ({holds('level.price >= 0 AND level.size >= 0')} OR {waived('negative')})"


def cents(value):
    return f"round_even(({value}) * 100, 0) / 100"


def rounded_levels(column):
    return f"list_transform({column}, lambda level: struct_pack(price := {cents('level.price')}, size := level.size)) AS {column}"


def trades():
    is_side = "upper(trim(side)) IN ('BUY', 'SELL')"
    keyed = ["trade_id IS NOT NULL AND trade_id <> ''"]
    sound = [
        is_sound_time("trade_timestamp"),
        are_amounts("price", "quantity"),
        f"side IS NOT NULL AND ({is_side} OR {waived('unknown_side')})",
    ]
    columns = [
        "trade_id", "nullif(upper(trim(symbol)), '') AS symbol", "coalesce(price, 0.0) AS price", "coalesce(quantity, 0.0) AS quantity",
        f"CASE WHEN {is_side} THEN upper(trim(side)) ELSE side END AS side", "trader_id", "exchange", "trade_timestamp", "event_timestamp",
        f"{new_york('trade_timestamp')} AS trade_date", "price IS NULL OR nullif(trim(symbol), '') IS NULL AS needs_review",
    ]
    return ["trade_id"], keyed, sound, [], columns


def orderbook():
    bid, ask = cents("best_bid"), cents("best_ask")
    keyed = ["symbol IS NOT NULL AND trim(symbol) <> ''"]
    sound = [
        is_sound_time("snapshot_timestamp"),
        are_amounts("best_bid", "best_ask", "bid_size", "ask_size"),
        are_levels("bids", "asks"),
    ]
    fresh = [
        "coalesce(event_timestamp <= snapshot_timestamp + INTERVAL 300 SECOND, true)",
        f"coalesce({bid} < {ask}, true)",
    ]
    columns = [
        "symbol", "exchange", "snapshot_timestamp", "event_timestamp", f"{bid} AS best_bid", f"{ask} AS best_ask", "bid_size", "ask_size",
        f"{cents(f'{ask} - {bid}')} AS spread", rounded_levels("bids"), rounded_levels("asks"), f"{new_york('snapshot_timestamp')} AS snapshot_date",
    ]
    return ["symbol", "snapshot_timestamp"], keyed, sound, fresh, columns


def market_data():
    sound = [
        "symbol IS NOT NULL AND trim(symbol) <> ''",
        is_sound_time("interval_start"),
        are_amounts("open", "high", "low", "close", "volume"),
        "open IS NOT NULL AND high IS NOT NULL AND low IS NOT NULL AND close IS NOT NULL",
        f"high >= low AND open BETWEEN low AND high AND close BETWEEN low AND high OR {waived('inconsistent_bar')}",
    ]
    columns = [
        "symbol", "exchange", "interval_start", "interval_end", "event_timestamp", "open", "high", "low", "close",
        "coalesce(volume, 0) AS volume", f"{new_york('interval_start')} AS market_date",
    ]
    return ["symbol", "interval_start"], [], sound, [], columns


RULES = {"silver.trades": trades, "silver.orderbook_snapshots": orderbook, "silver.market_data": market_data}


QUARANTINE = "ops.quarantine"


def all_of(conditions):
    return " AND ".join(f"coalesce({condition}, false)" for condition in conditions) or "true"


def readable(source):
    """The SQL of the rows that rules are asked about, with what was waived for each."""
    return f"""
        SELECT * FROM {source} LEFT JOIN waived USING ({COORDINATES})
        WHERE decode_error IS NULL AND topic_incarnation IS NOT NULL AND kafka_partition IS NOT NULL AND kafka_offset IS NOT NULL"""


def fold(source, silver):
    """The SQL of what the silver table must be."""
    key, keyed, sound, fresh, columns = RULES[silver]()
    return f"""
        WITH readable AS ({readable(source)}),
        latest AS (
            SELECT * FROM readable WHERE {all_of(keyed + sound + fresh)}
            QUALIFY row_number() OVER (
                PARTITION BY {', '.join(key)}
                ORDER BY event_timestamp DESC NULLS LAST, topic_incarnation DESC, kafka_partition DESC, kafka_offset DESC) = 1)
        SELECT {', '.join(columns)}, {COORDINATES} FROM latest"""


def judge_quarantine(db, catalog, bronze, silver):
    """Each row set aside is recorded once, under a rule that is not waived for it, and no other."""
    _, keyed, sound, _, _ = RULES[silver]()
    db.execute(f"CREATE OR REPLACE TEMP TABLE set_aside AS SELECT {COORDINATES} FROM ({readable(bronze)}) WHERE {all_of(keyed)} AND NOT {all_of([all_of(sound)])}")
    db.execute(f"CREATE OR REPLACE TEMP TABLE recorded AS SELECT {COORDINATES}, rule FROM quarantine LEFT JOIN waived USING ({COORDINATES}) "
               f"WHERE kind = 'row' AND source_table = '{silver}' AND NOT coalesce(list_contains(waived_rules, rule), false)")
    violations = []
    for what, one, other in (("missing", "set_aside", "recorded"), ("surplus", "recorded", "set_aside")):
        differing = f"SELECT {COORDINATES} FROM {one} EXCEPT ALL SELECT {COORDINATES} FROM {other}"
        count = db.execute(f"SELECT count(*) FROM ({differing})").fetchone()[0]
        if count:
            examples = db.execute(f"SELECT * FROM ({differing}) LIMIT {EXAMPLES}").fetchall()
            violations.append({"check": f"{QUARANTINE} of {silver}: {what}", "detail": f"{count} rows, for instance {examples}"})
    twice = db.execute(f"SELECT count(*) - count(DISTINCT (id, rule)) FROM quarantine WHERE kind = 'row' AND source_table = '{silver}'").fetchone()[0]
    if twice:
        violations.append({"check": f"{QUARANTINE} of {silver}: twice", "detail": f"{twice} rows"})
    return db.execute("SELECT count(*) FROM set_aside").fetchone()[0], violations


def load_quarantine(db, catalog, silver):
    """What is set aside and decided, and as `waived` which rules are waived for which record of the table."""
    source = scan(catalog.load_table(QUARANTINE)) if catalog.table_exists(QUARANTINE) else None
    columns = f"kind, source_table, id, {COORDINATES}, rule, decision"
    if source is None:
        empty = ", ".join(f"NULL::{kind} AS {name}" for name, kind in zip(columns.split(", "), ("VARCHAR", "VARCHAR", "VARCHAR", "INT", "INT", "BIGINT", "VARCHAR", "VARCHAR")))
        source = f"(SELECT {empty} LIMIT 0)"
    db.execute(f"CREATE OR REPLACE TEMP TABLE quarantine AS SELECT {columns} FROM {source}")
    db.execute(f"CREATE OR REPLACE TEMP TABLE waived AS SELECT {COORDINATES}, list(rule) AS waived_rules FROM quarantine "
               f"WHERE kind = 'decision' AND decision = 'replay' AND source_table = '{silver}' GROUP BY ALL")


def judge(db, catalog, bronze, silver):
    violations = []
    source, table = catalog.load_table(bronze), catalog.load_table(silver)
    load_quarantine(db, catalog, silver)
    db.execute(f"CREATE OR REPLACE TEMP TABLE expected AS {fold(scan(source), silver)}")
    names = ", ".join(column[0] for column in db.execute("SELECT * FROM expected LIMIT 0").description)
    db.execute(f"CREATE OR REPLACE TEMP TABLE found AS SELECT {names} FROM {scan(table)}")
    by_pyiceberg = table.scan(selected_fields=tuple(name.strip() for name in names.split(","))).to_arrow()
    db.register("by_pyiceberg", by_pyiceberg)
    figures = {"bronze": db.execute(f"SELECT count(*) FROM {scan(source)}").fetchone()[0]}
    for reader in ("found", "by_pyiceberg"):
        figures[reader] = db.execute(f"SELECT count(*) FROM {reader}").fetchone()[0]
        for what, one, other in (("missing", "expected", reader), ("surplus", reader, "expected")):
            differing = f"SELECT {names} FROM {one} EXCEPT ALL SELECT {names} FROM {other}"
            count = db.execute(f"SELECT count(*) FROM ({differing})").fetchone()[0]
            if count:
                examples = db.execute(f"SELECT COLUMNS(*)::VARCHAR FROM ({differing}) LIMIT {EXAMPLES}").fetchall()
                violations.append({"check": f"I4 {silver}: {what}, {reader}", "detail": f"{count} rows, for instance {examples}"})
    db.unregister("by_pyiceberg")
    figures["quarantined"], found = judge_quarantine(db, catalog, scan(source), silver)
    violations += found
    figures["expected"] = db.execute("SELECT count(*) FROM expected").fetchone()[0]
    return figures, violations


def scan(table):
    return f"iceberg_scan('{local_path(table.metadata_location)}')"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalog")
    parser.add_argument("warehouse", nargs="?")
    parser.add_argument("--bronze", action="append", default=[])
    parser.add_argument("--silver", action="append", default=[])
    arguments = parser.parse_args()
    catalog = open_catalog(arguments.catalog, arguments.warehouse)
    pairs = list(zip(arguments.bronze, arguments.silver, strict=True))
    if not pairs:
        pairs = [(bronze, silver) for bronze, silver in PAIRS if catalog.table_exists(silver)]
    db = connect()
    answer, violations = {}, []
    for bronze, silver in pairs:
        answer[silver], found = judge(db, catalog, bronze, silver)
        violations += found
    if not pairs:
        violations.append({"check": "tables", "detail": "there is no silver table"})
    print(json.dumps({"tables": answer, "violations": violations}))
    return 3 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
