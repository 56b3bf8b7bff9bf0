#!/usr/bin/env python3
"""Records that the node's own generator does not make: other schemas, transactions that abort, keys that are compacted away.

    produce.py --bootstrap B --registry URL --topic T --count N [--first I] [--shape trade|venue|iso]
               [--batch N] [--keys K [--scattered]] [--headers] [--pad BYTES] [--spoil-every N] [--bad-every N] [--unknown-every N] [--tombstone-every N] [--per-transaction N --abort-every K [--hang]]

The topic must exist; several, with commas between, get the same records each. The schema is registered under TOPIC-value. Prints JSON: sent, visible (to read_committed), aborted, bad,
tombstones, schema_id. With --per-transaction each N records are a transaction, and each K-th of these is aborted, the last one too;
--hang leaves one more transaction open, as a producer does that dies. An unknown record names a schema id that no registry has.
--overrides: a JSON list; the first records take these fields instead of theirs, one object each.
--batch: at most N records in one of the producer's batches, which a fetch takes whole.
--spoil-every: each N-th trade can be decoded and is no trade, in turn: a negative price, an unknown side, both, a price that is no number.
--pad adds a field `note` of that many characters which compress by a quarter at most: big records.
"""

import argparse
import base64
import io
import json
import random
import struct
import urllib.request
import zlib

import fastavro
from confluent_kafka import Producer

TIME_US = 1_767_623_400_000_000  # 2026-01-05T14:30:00Z
NOBODYS_SCHEMA_ID = 0x7FFF_FFF0
MAX_REQUEST_BYTES = 64 << 20
OPTIONAL_STRING, OPTIONAL_DOUBLE = ["null", "string"], ["null", "double"]
TIMESTAMP = {"type": "long", "logicalType": "timestamp-micros"}


def fields(shape, is_padded):
    """Fields of the record: `trade` as market data has it, `venue` with a field more, `iso` with times as strings."""
    time = "string" if shape == "iso" else TIMESTAMP
    base = [("trade_id", OPTIONAL_STRING), ("symbol", OPTIONAL_STRING), ("price", OPTIONAL_DOUBLE), ("quantity", OPTIONAL_DOUBLE),
            ("side", "string"), ("trader_id", "string"), ("exchange", "string"), ("trade_timestamp", time), ("event_timestamp", time)]
    if shape == "venue":
        base.append(("venue_fee", OPTIONAL_DOUBLE))
    if is_padded:
        base.append(("note", OPTIONAL_STRING))
    return [{"name": n, "type": t, **({"default": None} if isinstance(t, list) else {})} for n, t in base]


def trade(shape, i):
    """The i-th trade."""
    time = TIME_US + i * 1000
    record = dict(trade_id=f"F{i:09d}", symbol=f"S{i % 97:03d}", price=100 + i % 1000 / 100, quantity=float(1 + i % 50),
                  side="BUY" if i % 2 else "SELL", trader_id=f"T{i % 40:03d}", exchange="XNYS", trade_timestamp=time, event_timestamp=time + 7)
    if shape == "venue":
        record["venue_fee"] = i / 8
    if shape == "iso":
        micros = time % 1_000_000
        record.update(trade_timestamp=f"2026-01-05T14:30:{i % 60:02d}.{micros:06d}Z", event_timestamp=f"2026-01-05T09:30:{i % 60:02d}.{micros:06d}-05:00")
        if i % 10 == 9:
            record["trade_timestamp"] = "yesterday, about noon"
    return record


def spoil(record, turn):
    """The same with what rules set aside."""
    spoils = ({"price": -1.5}, {"side": "HOLD"}, {"price": -2.5, "side": "HOLD"}, {"price": float("nan")})
    return record | spoils[turn % len(spoils)]


def register(registry, topic, schema):
    """Registers the schema and returns its id."""
    body = json.dumps({"schemaType": "AVRO", "schema": json.dumps(schema)}).encode()
    request = urllib.request.Request(f"{registry}/subjects/{topic}-value/versions", data=body,
                                     headers={"Content-Type": "application/vnd.schemaregistry.v1+json"})
    # Straight to this machine's own port, whatever proxy the environment names.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return json.load(answer)["id"]


class Feed:
    """Makes and sends the records, and counts what became of them."""

    def __init__(self, args):
        self.args = args
        schema = {"type": "record", "name": "Trade", "namespace": "tapehouse", "fields": fields(args.shape, args.pad > 0)}
        self.schema = fastavro.parse_schema(schema)
        self.schema_id = register(args.registry, args.topic, schema)
        properties = {"bootstrap.servers": args.bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 200_000, "enable.idempotence": True,
                      "message.max.bytes": MAX_REQUEST_BYTES, "queue.buffering.max.kbytes": 65_536}
        if args.batch:
            properties["batch.num.messages"] = args.batch
        if args.per_transaction:
            properties |= {"transactional.id": f"{args.topic}-{args.first}", "transaction.timeout.ms": 30_000}
        self.producer = Producer(properties)
        self.overrides = json.loads(args.overrides)
        self.failed = 0
        self.counts = dict(sent=0, visible=0, aborted=0, bad=0, tombstones=0, schema_id=self.schema_id)

    def value(self, i):
        """The i-th value: Confluent wire format, or what the options spoil."""
        if self.args.tombstone_every and i % self.args.tombstone_every == self.args.tombstone_every - 1:
            return None, "tombstones"
        if self.args.bad_every and i % self.args.bad_every == self.args.bad_every - 1:
            return b"\x07this is no Avro", "bad"
        is_unknown = self.args.unknown_every and i % self.args.unknown_every == self.args.unknown_every - 1
        out = io.BytesIO()
        out.write(struct.pack(">bI", 0, NOBODYS_SCHEMA_ID if is_unknown else self.schema_id))
        record = trade(self.args.shape, i)
        if self.args.spoil_every and i % self.args.spoil_every == self.args.spoil_every - 1:
            record = spoil(record, i // self.args.spoil_every)
        record.update(self.overrides[i - self.args.first] if i - self.args.first < len(self.overrides) else {})
        if self.args.pad:
            record["note"] = base64.b64encode(random.Random(i).randbytes(self.args.pad * 3 // 4)).decode()
        fastavro.schemaless_writer(out, self.schema, record)
        return out.getvalue(), "bad" if is_unknown else None

    def key(self, i):
        """Keys in turn, or scattered: then what compaction leaves lies scattered too."""
        return b"k%d" % (zlib.crc32(b"%d" % i) % self.args.keys if self.args.scattered else i % self.args.keys)

    def delivered(self, error, _message):
        self.failed += error is not None

    def send(self, span):
        """Sends the records with these numbers; returns what is special about them."""
        kinds = []
        for i in span:
            value, kind = self.value(i)
            kinds.append(kind)
            headers = [("number", str(i).encode()), ("empty", None)] if self.args.headers else None
            while True:
                try:
                    self.producer.produce(self.args.topic, value, key=self.key(i), headers=headers, on_delivery=self.delivered)
                    break
                except BufferError:
                    self.producer.poll(0.05)
            self.producer.poll(0)
        self.counts["sent"] += len(kinds)
        return kinds

    def count(self, kinds, is_visible):
        self.counts["visible" if is_visible else "aborted"] += len(kinds)
        for kind in filter(None, kinds if is_visible else []):
            self.counts[kind] += 1

    def flush(self):
        if self.producer.flush(60) or self.failed:
            raise SystemExit(f"{self.failed} records failed, others are not delivered yet")

    def run(self):
        numbers = range(self.args.first, self.args.first + self.args.count)
        if not self.args.per_transaction:
            self.count(self.send(numbers), True)
            return self.flush()
        self.producer.init_transactions(30)
        spans = [numbers[at:at + self.args.per_transaction] for at in range(0, len(numbers), self.args.per_transaction)]
        for turn, span in enumerate(spans, 1):
            self.producer.begin_transaction()
            kinds = self.send(span)
            aborts = self.args.abort_every and (turn % self.args.abort_every == 0 or turn == len(spans))
            if aborts:
                # Delivered first: an abort of what was never sent would leave nothing in the log to be passed over.
                self.flush()
                self.producer.abort_transaction(30)
            else:
                self.producer.commit_transaction(30)
            self.count(kinds, not aborts)
        if self.args.hang:
            self.producer.begin_transaction()
            self.send(range(numbers.stop, numbers.stop + 10))
            self.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bootstrap", "registry", "topic"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shape", choices=("trade", "venue", "iso"), default="trade")
    parser.add_argument("--keys", type=int, default=1 << 30)
    for name in ("spoil-every", "bad-every", "unknown-every", "tombstone-every", "per-transaction", "abort-every", "pad", "batch"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--overrides", default="[]")
    parser.add_argument("--scattered", action="store_true")
    parser.add_argument("--headers", action="store_true")
    parser.add_argument("--hang", action="store_true")
    args = parser.parse_args()
    total = {}
    for topic in args.topic.split(","):
        feed = Feed(argparse.Namespace(**(vars(args) | {"topic": topic})))
        feed.run()
        total = {name: feed.counts[name] + (0 if name == "schema_id" else total.get(name, 0)) for name in feed.counts}
    print(json.dumps(total), flush=True)


if __name__ == "__main__":
    main()
