#!/usr/bin/env python3
"""Every kind of value and of bad input, each a named case, and what has to become of it in bronze.

    inputs.py send  --bootstrap B --registry URL --topic T --sent SENT.json [--only CASE]...
    inputs.py judge CATALOG_DB TABLE SENT.json

`send` puts all cases' records into one topic, case by case in turn, so that schemas alternate from record to record. `judge` reads the
table by PyIceberg and by DuckDB and compares each row with what was sent: columns, decode_error, raw_value. It prints JSON: rows, cases, codes
(undecodable rows by code) and violations; exit 0, or 3 when there are violations.
"""

import argparse
import datetime
import decimal
import io
import itertools
import json
import math
import pathlib
import struct
import sys
import urllib.request
import uuid

import fastavro
from confluent_kafka import Producer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "oracle"))

NOBODYS_SCHEMA_ID = 0x7FFF_FFF1
UTC = datetime.timezone.utc
NAN = float("nan")


def record(name, *fields):
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}


def logical(base, of, **more):
    return {"type": base, "logicalType": of, **more}


def nested(depth, of="string"):
    """A type of `depth` records, each the only field of the next; and a value of it."""
    schema, value = of, "deep"
    for level in range(depth):
        schema, value = record(f"Level{level}", ("f", schema)), {"f": value}
    return schema, value


def doubling(depth):
    """Each type has two fields of the type before: some hundred lines that write out to 2^depth fields."""
    fields = [("f0", record("D0", ("a", "int")))]
    fields += [(f"f{n}", record(f"D{n}", ("a", f"D{n - 1}"), ("b", f"D{n - 1}"))) for n in range(1, depth)]
    return record("Doubling", *fields)


class Raw:
    """A body as it stands, instead of one that is encoded by the schema."""

    def __init__(self, body):
        self.body = body


class Value:
    """A whole value, header included; None is a tombstone."""

    def __init__(self, value):
        self.value = value


def good(column, of, *values):
    """A schema with one field, which every row has decoded as it was sent. A pair is what was sent and how it reads."""
    pairs = [value if isinstance(value, tuple) else (value, value) for value in values]
    return dict(schema=record("Case", (column, of)), column=column, records=[({column: sent}, read) for sent, read in pairs])


def bad(code, schema, *values):
    """Records that are all kept undecoded for `code`."""
    return dict(schema=schema, code=code, records=[(value, None) for value in values])


def mixed(code, column, of, *values):
    """Records of one schema of which only the raw ones are bad."""
    case = good(column, of, *(value for value in values if not isinstance(value, (Raw, Value))))
    return case | dict(code=code, records=[(v, None) if isinstance(v, (Raw, Value)) else ({column: v}, v) for v in values])


def encoded_long(value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", value)
    return out.getvalue()


MICROS = datetime.datetime(2026, 1, 5, 14, 30, 0, 123456)
NAIVE = MICROS
AWARE = MICROS.replace(tzinfo=UTC)
LEVEL = record("Level", ("price", "double"), ("sizes", {"type": "array", "items": "long"}))
DECIMAL_4 = logical("bytes", "decimal", precision=4, scale=2)
DEEP, DEEP_VALUE = nested(30)
WIDE = [f"wide_{n}" for n in range(1500)]
FIXED_ITEM = ["null", {"type": "fixed", "name": "Block", "size": 100_000}]

CASES = {
    # Values of every type, as they were sent.
    "boolean": good("v_boolean", "boolean", True, False),
    "int": good("v_int", "int", 0, 2**31 - 1, -(2**31)),
    "long": good("v_long", "long", 0, 2**63 - 1, -(2**63)),
    "float": good("v_float", "float", 0.5, NAN, math.inf),
    "double": good("v_double", "double", 0.1, NAN, math.inf, -math.inf, -0.0),
    "bytes": good("v_bytes", "bytes", b"", b"\x00\xff"),
    "string": good("v_string", "string", "", "a\x00b", "äöü \U0001f600", "x" * 100_000),
    "enum": good("v_enum", {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}, "SELL", "BUY"),
    "fixed": good("v_fixed", {"type": "fixed", "name": "Code", "size": 3}, b"abc", b"\x00\x00\x00"),
    "decimal": good("v_decimal", logical("bytes", "decimal", precision=12, scale=4), decimal.Decimal("12345678.1234"), decimal.Decimal("-0.0001")),
    "decimal_fixed": good("v_decimal_fixed", logical("fixed", "decimal", name="Money", size=16, precision=38, scale=10),
                          decimal.Decimal("1234567890123456789012345678.0123456789")),
    "uuid": good("v_uuid", logical("string", "uuid"), *((u, u.bytes) for u in [uuid.UUID(int=2**127 + 5)])),
    "date": good("v_date", logical("int", "date"), datetime.date(2024, 2, 29), datetime.date(1969, 12, 31)),
    "time_millis": good("v_time_millis", logical("int", "time-millis"), datetime.time(23, 59, 59, 999_000)),
    "time_micros": good("v_time_micros", logical("long", "time-micros"), datetime.time(0, 0, 0, 1)),
    "timestamp_millis": good("v_timestamp_millis", logical("long", "timestamp-millis"), AWARE.replace(microsecond=123_000)),
    "timestamp_micros": good("v_timestamp_micros", logical("long", "timestamp-micros"), AWARE),
    "timestamp_nanos": good("v_timestamp_nanos", logical("long", "timestamp-nanos"), (1_767_623_400_123_456_789, AWARE)),
    "local_timestamp": good("v_local_timestamp", logical("long", "local-timestamp-micros"), NAIVE),
    "map": good("v_map", {"type": "map", "values": ["null", "long"]}, {}, {"a": 1, "b": None}),
    "levels": good("v_levels", {"type": "array", "items": LEVEL}, [], [{"price": 1.5, "sizes": [1, 2]}, {"price": NAN, "sizes": []}]),
    "nullable": good("v_nullable", ["null", {"type": "array", "items": ["null", "string"]}], None, [None, "x"], []),
    "null_last": good("v_null_last", ["string", "null"], "x", None),
    "deep": good("v_deep", DEEP, DEEP_VALUE),
    "wide": dict(schema=record("Case", *((name, ["null", "double"]) for name in WIDE)), column="wide_1499",
                 records=[(dict.fromkeys(WIDE, 2.5), 2.5), (dict.fromkeys(WIDE), None)]),
    "five_megabytes": good("v_five_megabytes", "bytes", bytes(range(256)) * 20_480),
    # Values that are none.
    "tombstone": bad("tombstone", None, Value(None)),
    "empty": bad("empty_value", None, Value(b"")),
    "too_short": bad("too_short", None, Value(b"\x00\x00\x00")),
    "magic": bad("wrong_magic_byte", None, Value(b"\x07no Avro"), Value(b'{"json": true}')),
    "unknown_id": bad("unknown_schema_id", None, Value(struct.pack(">bI", 0, NOBODYS_SCHEMA_ID) + b"\x02")),
    "truncated": mixed("truncated", "b_truncated", "string", "whole", Raw(b"\x14short"), "whole again"),
    "no_body": mixed("truncated", "b_no_body", "double", 1.0, Raw(b""), 2.0),
    "trailing": mixed("trailing_bytes", "b_trailing", "int", 1, Raw(b"\x02\x04"), 2),
    "twice": mixed("malformed", "b_utf8", "string", "x", Raw(b"\x04\xff\xfe"), "y", Raw(b"\x06a\xc3("), "z"),
    "symbol": mixed("malformed", "b_symbol", {"type": "enum", "name": "Few", "symbols": ["A", "B"]}, "A", Raw(b"\x0a"), "B"),
    "digits": mixed("malformed", "b_digits", DECIMAL_4, decimal.Decimal("99.99"), Raw(b"\x08\x7f\xff\xff\xff"), decimal.Decimal("-0.01")),
    "not_uuid": mixed("malformed", "b_uuid", logical("string", "uuid"), Raw(b"\x06xyz")),
    "midnight": mixed("malformed", "b_midnight", logical("long", "time-micros"), datetime.time(1), Raw(encoded_long(86_400_000_000)), datetime.time(2)),
    "far_away": mixed("malformed", "b_far", logical("long", "timestamp-millis"), AWARE.replace(microsecond=0), Raw(encoded_long(2**63 - 1))),
    "huge_length": mixed("truncated", "b_length", "bytes", b"x", Raw(encoded_long(2**62)), b"y"),
    "negative_length": mixed("malformed", "b_negative", "bytes", b"x", Raw(encoded_long(-5)), b"y"),
    "endless_varint": mixed("malformed", "b_varint", "long", 1, Raw(b"\xff" * 20), 2),
    "null_items": mixed("too_large", "b_items", {"type": "array", "items": FIXED_ITEM}, [], Raw(encoded_long(60_000) + b"\x00" * 60_001), [None]),
    # Schemas that no table can be filled by.
    "holds_itself": bad("unusable_schema", record("Node", ("v", "int"), ("next", ["null", "Node"])), {"v": 1, "next": {"v": 2, "next": None}}),
    "too_deep": bad("unusable_schema", record("Case", ("b_too_deep", nested(34)[0])), {"b_too_deep": nested(34)[1]}),
    "doubling": bad("unusable_schema", doubling(30), Raw(b"\x02" * 50)),
    "too_wide": bad("unusable_schema", record("Case", *((f"tw_{n}", "int") for n in range(5000))), {f"tw_{n}": n for n in range(5000)}),
    "case_of_two": bad("unusable_schema", record("Case", ("Volume", "int"), ("volume", "int")), {"Volume": 1, "volume": 2}),
    "no_record": bad("unusable_schema", {"type": "array", "items": "int"}, [1, 2]),
    "no_fields": bad("unusable_schema", record("Case"), {}),
    "big_fixed": bad("unusable_schema", record("Case", ("f", ["null", {"type": "fixed", "name": "F", "size": 2_000_000}])), {"f": None}),
    # Schemas that this table cannot take.
    "union": bad("schema_conflict", record("Case", ("b_union", ["null", "string", "long"])), {"b_union": "x"}, {"b_union": 1}),
    "only_null": bad("schema_conflict", record("Case", ("b_null", "null")), {"b_null": None}),
    "duration": bad("schema_conflict", record("Case", ("b_duration", logical("fixed", "duration", name="Span", size=12))), {"b_duration": b"\x00" * 12}),
    "decimal_60": bad("schema_conflict", record("Case", ("b_decimal", logical("bytes", "decimal", precision=60, scale=2))), {"b_decimal": decimal.Decimal("1.00")}),
    "reserved": bad("schema_conflict", record("Case", ("kafka_offset", "long"), ("x", "int")), {"kafka_offset": 7, "x": 1}),
    "reserved_case": bad("schema_conflict", record("Case", ("Raw_Value", "bytes")), {"Raw_Value": b"x"}),
    "other_case": bad("schema_conflict", record("Case", ("V_STRING", "string")), {"V_STRING": "x"}),
    "nested_case": bad("schema_conflict", record("Case", ("v_levels", {"type": "array", "items": record("Level", ("Price", "double"))})), {"v_levels": [{"Price": 1.0}]}),
    "other_type": bad("schema_conflict", record("Case", ("v_string", "long")), {"v_string": 7}),
    "no_promotion": bad("schema_conflict", record("Case", ("v_long", "double")), {"v_long": 7.5}),
}


def register(registry, subject, schema):
    """Registers the schema and returns its id."""
    body = json.dumps({"schemaType": "AVRO", "schema": json.dumps(schema)}).encode()
    request = urllib.request.Request(f"{registry}/subjects/{subject}/versions", data=body,
                                     headers={"Content-Type": "application/vnd.schemaregistry.v1+json"})
    # Straight to this machine's own port, whatever proxy the environment names.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return json.load(answer)["id"]


def value_bytes(case, schema_id, value):
    """What stands in Kafka."""
    if isinstance(value, Value):
        return value.value
    out = io.BytesIO(struct.pack(">bI", 0, schema_id))
    out.seek(0, io.SEEK_END)
    if isinstance(value, Raw):
        out.write(value.body)
    else:
        fastavro.schemaless_writer(out, case["schema"], value)
    return out.getvalue()


def send(args):
    cases = {name: case for name, case in CASES.items() if not args.only or name in args.only}
    ids = {name: register(args.registry, f"{args.topic}-{name}", case["schema"]) for name, case in cases.items() if case["schema"]}
    producer = Producer({"bootstrap.servers": args.bootstrap, "message.max.bytes": 8_000_000, "linger.ms": 20, "enable.idempotence": True})
    sent = []
    turns = itertools.zip_longest(*([(name, index) for index in range(len(case["records"]))] for name, case in cases.items()))
    for name, index in (item for turn in turns for item in turn if item):
        def delivered(error, message, name=name, index=index):
            if error:
                raise SystemExit(f"{name}: {error}")
            sent.append([message.partition(), message.offset(), name, index, ids.get(name)])
        value = value_bytes(cases[name], ids.get(name), cases[name]["records"][index][0])
        producer.produce(args.topic, value, key=name.encode(), on_delivery=delivered)
    if producer.flush(60):
        raise SystemExit("not all records were delivered")
    pathlib.Path(args.sent).write_text(json.dumps(sent))
    print(json.dumps(dict(sent=len(sent))))


def plain(value):
    """The value in a form in which equal means equal: floats by their text, maps sorted."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict) and set(value) == {"key", "value"} and isinstance(value["key"], list):
        return plain(dict(zip(value["key"], value["value"])))
    if isinstance(value, dict):
        return sorted((key, plain(part)) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        pairs = value and all(isinstance(part, tuple) and len(part) == 2 for part in value)
        return plain(dict(value)) if pairs else [plain(part) for part in value]
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(UTC).isoformat()
    return value


def expected(name, index, schema_id):
    """Column, its value, and decode_error's code, raw_value."""
    case = CASES[name]
    value, read = case["records"][index]
    is_bad = "code" in case and ("column" not in case or isinstance(value, (Raw, Value)))
    if is_bad:
        return None, None, case["code"], value_bytes(case, schema_id, value)
    return case["column"], read, None, None


def read(table, engine, columns):
    """{(partition, offset): row} by that engine."""
    from lake import connect
    if engine == "PyIceberg":
        rows = table.scan(selected_fields=columns).to_arrow()
    else:
        quoted = ", ".join(f'"{column}"' for column in columns)
        db = connect()
        db.execute("SET TimeZone = 'UTC'")
        rows = db.execute(f"SELECT {quoted} FROM iceberg_scan('{table.metadata_location}')").arrow()
        rows = rows.read_all() if hasattr(rows, "read_all") else rows
    return [{**row, "coordinates": (row["kafka_partition"], row["kafka_offset"])} for row in rows.to_pylist()]


def judge(args):
    from lake import open_catalog

    table = open_catalog(args.catalog).load_table(args.table)
    sent = {(partition, offset): (name, index, schema_id) for partition, offset, name, index, schema_id in json.loads(pathlib.Path(args.sent).read_text())}
    ours = ("kafka_partition", "kafka_offset", "decode_error", "raw_value")
    has = {field.name for field in table.schema().fields}
    wanted = {CASES[name]["column"] for name, _, _ in sent.values() if "column" in CASES[name]}
    columns = [column for column in sorted(wanted) if column in has]
    violations, codes = [f"no column {column}" for column in sorted(wanted - has)], {}
    for engine in ("PyIceberg", "DuckDB"):
        rows = read(table, engine, (*ours, *columns))
        if sorted(row["coordinates"] for row in rows) != sorted(sent):
            violations.append(f"{engine}: {len(rows)} rows, {len(sent)} were sent")
            continue
        for row in rows:
            name, index, schema_id = sent[row["coordinates"]]
            column, value, code, raw = expected(name, index, schema_id)
            found = (row["decode_error"] or "").partition(":")[0] or None
            if engine == "DuckDB" and found:
                codes[found] = codes.get(found, 0) + 1
            if found != code:
                violations.append(f"{engine}: {name} {index}: {row['decode_error']} instead of {code}")
            elif row["raw_value"] != raw:
                violations.append(f"{engine}: {name} {index}: raw_value is not what was sent")
            elif column and plain(row[column]) != plain(value) and not (engine == "PyIceberg" and value is None and row[column] == []):
                violations.append(f"{engine}: {name} {index}: {str(plain(row[column]))[:200]} instead of {str(plain(value))[:200]}")
            # PyIceberg makes empty lists of null ones where their items are structs.
            others = [other for other in columns if other != column and row[other] is not None and not (engine == "PyIceberg" and row[other] == [])]
            if others:
                violations.append(f"{engine}: {name} {index}: values in {others}")
    print(json.dumps(dict(rows=len(sent), cases=len({name for name, _, _ in sent.values()}), codes=codes, violations=violations)))
    return 3 if violations else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    sending = actions.add_parser("send")
    for name in ("bootstrap", "registry", "topic", "sent"):
        sending.add_argument(f"--{name}", required=True)
    sending.add_argument("--only", action="append", choices=CASES)
    judging = actions.add_parser("judge")
    for name in ("catalog", "table", "sent"):
        judging.add_argument(name)
    args = parser.parse_args()
    return send(args) if args.action == "send" else judge(args)


if __name__ == "__main__":
    sys.exit(main())
