#!/usr/bin/env python3
"""A schema that changes while records flow, and what each row has to read as afterwards.

    evolution.py send  --bootstrap B --registry URL --topic T --sent SENT.json STAGE...
    evolution.py judge CATALOG_DB TABLE SENT.json

`send` registers each stage's schema and sends COUNT records of each, in turn: record by record another schema; SENT.json grows. `judge` reads
the table by PyIceberg and by DuckDB: each row must have its fields' values, in whatever type the column has come to be, and null in all
other columns; or be undecoded where its stage is a conflict. It prints JSON: rows, types and violations; exit 0, or 3 when there are violations.
"""

import argparse
import copy
import decimal
import json
import pathlib
import sys

from confluent_kafka import Producer

from inputs import plain, read, record, register, value_bytes

COUNT = 40
LEVEL = record("Level", ("price", "double"), ("size", "int"))
BASE = record(
    "Quote",
    ("id", "long"),
    ("qty", "int"),
    ("ratio", ["null", "float"]),
    ("amount", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
    ("note", "string"),
    ("top", LEVEL),
    ("bids", {"type": "array", "items": "Level"}),
    ("tags", {"type": "map", "values": "int"}),
)


def base_record(i):
    level = {"price": i / 4, "size": i}
    return dict(id=i, qty=i - 20, ratio=i / 2 if i % 5 else None, amount=decimal.Decimal(i) / 4 * 1, note=f"n{i}", top=level,
                bids=[level] * (i % 3), tags={"a": i})


class Stage:
    """A schema and its records, both made from the first ones."""

    def __init__(self, schema=lambda schema: None, value=lambda value, i: None, is_conflict=False):
        self.schema, self.is_conflict, self.change = copy.deepcopy(BASE), is_conflict, value
        schema(self.schema)

    def value(self, i):
        value = base_record(i)
        value["amount"] = value["amount"].quantize(decimal.Decimal("0.01"))
        self.change(value, i)
        return value


def field(schema, name):
    return next(f for f in schema["fields"] if f["name"] == name)


def without(*names):
    def of_schema(schema):
        schema["fields"] = [f for f in schema["fields"] if f["name"] not in names]
    return of_schema


def added(schema):
    schema["fields"] += [{"name": "venue", "type": ["null", "string"], "default": None}, {"name": "fee", "type": "double", "default": 0.0}]


def promoted(schema):
    field(schema, "qty")["type"] = "long"
    field(schema, "ratio")["type"] = ["null", "double"]
    field(schema, "amount")["type"]["precision"] = 18
    field(schema, "tags")["type"]["values"] = "long"
    field(field(schema, "top")["type"], "size")["type"] = "long"


def beyond_int(value, i):
    value.update(qty=2**40 + i, ratio=0.1, amount=decimal.Decimal(f"123456789012{i:04d}.25"), tags={"a": 2**50})
    value["top"] = value["top"] | {"size": 2**33}
    value["bids"] = [value["top"]] * (i % 3)


def reordered(schema):
    # The type of the array's items is named where it is used first: now in the array.
    field(schema, "bids")["type"]["items"] = record("Level", ("size", "int"), ("price", "double"))
    field(schema, "top")["type"] = "Level"
    schema["fields"].reverse()


def nested_more(schema):
    level = field(schema, "top")["type"]
    level["fields"] += [{"name": "orders", "type": ["null", "int"], "default": None}, {"name": "makers", "type": {"type": "array", "items": "string"}}]


def nested_values(value, i):
    value["top"] = value["top"] | {"orders": i if i % 2 else None, "makers": [f"m{i}"]}
    value["bids"] = [value["top"]] * (i % 3)


def renamed(schema):
    field(schema, "note").update(name="remark", aliases=["note"])


def retyped(name, of):
    def of_schema(schema):
        field(schema, name)["type"] = of
    return of_schema


def bad_level(schema):
    field(field(schema, "top")["type"], "price")["type"] = "string"


STAGES = {
    "base": Stage(),
    "added": Stage(added, lambda value, i: value.update(venue=f"v{i}" if i % 2 else None, fee=i / 8)),
    "removed": Stage(without("note", "ratio"), lambda value, i: [value.pop(name) for name in ("note", "ratio")]),
    "promoted": Stage(promoted, beyond_int),
    "reordered": Stage(reordered),
    "nested": Stage(nested_more, nested_values),
    "renamed": Stage(renamed, lambda value, i: value.update(remark=value.pop("note"))),
    "text_for_number": Stage(retyped("qty", "string"), lambda value, i: value.update(qty=str(i)), is_conflict=True),
    "bytes_for_text": Stage(retyped("note", "bytes"), lambda value, i: value.update(note=b"x"), is_conflict=True),
    "double_for_long": Stage(retyped("id", "double"), lambda value, i: value.update(id=i / 2), is_conflict=True),
    "other_scale": Stage(retyped("amount", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}), is_conflict=True),
    "nested_text": Stage(bad_level, lambda value, i: value.update(top={"price": "x", "size": 1}, bids=[]), is_conflict=True),
}


def send(args):
    path = pathlib.Path(args.sent)
    sent = json.loads(path.read_text()) if path.exists() else []
    ids = {name: register(args.registry, f"{args.topic}-{name}", STAGES[name].schema) for name in args.stages}
    producer = Producer({"bootstrap.servers": args.bootstrap, "linger.ms": 20, "enable.idempotence": True})
    for i in range(COUNT):
        for name in args.stages:
            def delivered(error, message, name=name, i=i):
                if error:
                    raise SystemExit(f"{name}: {error}")
                sent.append([message.partition(), message.offset(), name, i, ids[name]])
            value = value_bytes({"schema": STAGES[name].schema}, ids[name], STAGES[name].value(i))
            producer.produce(args.topic, value, key=str(i).encode(), on_delivery=delivered)
    if producer.flush(60):
        raise SystemExit("not all records were delivered")
    path.write_text(json.dumps(sent))
    print(json.dumps(dict(sent=len(sent))))


def filled(value, template):
    """The value with null for what newer schemas added within it."""
    if isinstance(value, dict) and isinstance(template, dict):
        return {key: filled(value.get(key), part) for key, part in template.items()}
    if isinstance(value, list) and isinstance(template, list):
        return [filled(part, template[0]) for part in value]
    return value


def filtered(table, sent):
    """Filtered scans find what was written before a column was widened too: its bounds in the manifests are narrower numbers."""
    from lake import connect
    from pyiceberg.expressions import EqualTo

    quantities = [STAGES[name].value(i)["qty"] for name, i, _ in sent.values() if not STAGES[name].is_conflict]
    violations = []
    for quantity in (min(quantities), -1, max(quantities)):
        scanned = table.scan(row_filter=EqualTo("qty", quantity), selected_fields=("qty",)).to_arrow().num_rows
        (queried,) = connect().execute(f"SELECT count(*) FROM iceberg_scan('{table.metadata_location}') WHERE qty = {quantity}").fetchone()
        if {scanned, queried} != {quantities.count(quantity)}:
            violations.append(f"qty = {quantity}: {scanned} and {queried} rows instead of {quantities.count(quantity)}")
    return violations


def judge(args):
    from lake import open_catalog

    table = open_catalog(args.catalog).load_table(args.table)
    sent = {(p, o): (name, i, schema_id) for p, o, name, i, schema_id in json.loads(pathlib.Path(args.sent).read_text())}
    columns = [f.name for f in table.schema().fields]
    columns = columns[:columns.index("ingestion_timestamp")] + columns[columns.index("decode_error") + 1:]
    # Whether the levels have grown shows in the table itself; that they must have is the caller's check of the types.
    level = dict.fromkeys(f.name for f in table.schema().find_field("top").field_type.fields)
    template = {"top": level, "bids": [level]}
    violations = []
    for engine in ("PyIceberg", "DuckDB"):
        rows = read(table, engine, ("kafka_partition", "kafka_offset", "decode_error", "raw_value", *columns))
        if sorted(row["coordinates"] for row in rows) != sorted(sent):
            violations.append(f"{engine}: {len(rows)} rows, {len(sent)} were sent")
            continue
        for row in rows:
            name, i, schema_id = sent[row["coordinates"]]
            stage, code = STAGES[name], (row["decode_error"] or "").partition(":")[0] or None
            wanted = {} if stage.is_conflict else {key: filled(value, template.get(key)) for key, value in stage.value(i).items()}
            raw = value_bytes({"schema": stage.schema}, schema_id, stage.value(i)) if stage.is_conflict else None
            if code != ("schema_conflict" if stage.is_conflict else None) or row["raw_value"] != raw:
                violations.append(f"{engine}: {name} {i}: {row['decode_error']}")
            for column in columns:
                found = None if engine == "PyIceberg" and row[column] == [] and column not in wanted else row[column]
                if plain(found) != plain(wanted.get(column)):
                    violations.append(f"{engine}: {name} {i}: {column} is {plain(found)} instead of {plain(wanted.get(column))}")
    violations += filtered(table, sent)
    types = {f.name: str(f.field_type) for f in table.schema().fields if f.name in columns}
    print(json.dumps(dict(rows=len(sent), types=types, violations=violations[:20])))
    return 3 if violations else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    sending = actions.add_parser("send")
    for name in ("bootstrap", "registry", "topic", "sent"):
        sending.add_argument(f"--{name}", required=True)
    sending.add_argument("stages", nargs="+", choices=STAGES)
    judging = actions.add_parser("judge")
    for name in ("catalog", "table", "sent"):
        judging.add_argument(name)
    args = parser.parse_args()
    return send(args) if args.action == "send" else judge(args)


if __name__ == "__main__":
    sys.exit(main())
