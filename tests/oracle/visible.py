"""The offsets of a topic that a read_committed consumer sees, by librdkafka through confluent-kafka."""

import time

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition, OFFSET_BEGINNING

BATCH = 20_000


def visible_offsets(bootstrap, topic, idle_limit_s=60.0):
    """Reads every partition of the topic from its beginning to its end.

    Returns a pyarrow table (kafka_partition int32, kafka_offset int64). The end of a partition is librdkafka's own end-of-partition
    event, which for read_committed is the last stable offset; so control records and aborted transactions need no special care.
    Raises RuntimeError when nothing arrives for idle_limit_s.
    """
    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": "tapehouse-oracle",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "check.crcs": True,
        "queued.min.messages": 1_000_000,
        "queued.max.messages.kbytes": 262_144,
        "fetch.queue.backoff.ms": 10,
    })
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic]
        if partitions.error is not None:
            raise KafkaException(partitions.error)
        open_partitions = set(partitions.partitions)
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in open_partitions])
        batches = list(_until_ends(consumer, open_partitions, idle_limit_s))
    finally:
        consumer.close()
    schema = pa.schema([("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())])
    return pa.Table.from_batches([pa.record_batch(b, schema=schema) for b in batches], schema=schema)


def _until_ends(consumer, open_partitions, idle_limit_s):
    """Yields [[partition], [offset]] until each partition reported its end; removes the ended ones from open_partitions."""
    last_arrival = time.monotonic()
    while open_partitions:
        messages = consumer.consume(BATCH, timeout=0.5)
        if not messages:
            if time.monotonic() - last_arrival > idle_limit_s:
                raise RuntimeError(f"no record and no end of partitions {sorted(open_partitions)} for {idle_limit_s} s")
            continue
        last_arrival = time.monotonic()
        if any(m.error() is not None for m in messages):
            for message in messages:
                if message.error() is None:
                    continue
                if message.error().code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(message.error())
                open_partitions.discard(message.partition())
            messages = [m for m in messages if m.error() is None]
        yield [[m.partition() for m in messages], [m.offset() for m in messages]]
