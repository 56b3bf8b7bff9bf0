#!/usr/bin/env python3
"""Topics of the test broker, without the second that a JVM takes: an AdminClient of confluent-kafka.

    admin.py BOOTSTRAP create TOPIC[,TOPIC...] PARTITIONS [K=V]...    partitions TOPIC N    delete TOPIC
    admin.py BOOTSTRAP recreate TOPIC PARTITIONS           deletes it and creates it at once: the same name, another id
    admin.py BOOTSTRAP truncate TOPIC PARTITION OFFSET     records below OFFSET are gone, as after retention
    admin.py BOOTSTRAP alter TOPIC K=V...                  changes the topic's configuration
    admin.py BOOTSTRAP visible TOPIC FILE                  writes the offsets that a read_committed consumer sees, as Parquet
    admin.py BOOTSTRAP watermarks TOPIC                    JSON {partition: [low, high]}, all that is stored counted
    admin.py BOOTSTRAP group GROUP TOPIC                   JSON {partition: committed offset}
    admin.py BOOTSTRAP grant USER TOPIC                    the user may read it, and nothing about groups
    admin.py BOOTSTRAP await-count TOPIC N                 waits until a read_committed consumer sees N records: after compaction
    admin.py BOOTSTRAP await-compacted TOPIC N             waits until at most N are left and no more go; JSON {visible, offsets}

Returns when the broker itself shows the change.
"""

import json
import os
import sys
import time

import pyarrow.parquet
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding, AclOperation, AclPermissionType, AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
    ResourcePatternType, ResourceType,
)

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle"))
from visible import visible_offsets  # noqa: E402

PATIENCE_S = 30
STABLE_S = 2


def until(what, probe):
    """Asks until the answer is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not probe():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {PATIENCE_S} s")
        time.sleep(0.05)


def done(futures):
    """Waits for the answers of an admin call and returns the last."""
    answer = None
    for future in futures.values():
        answer = future.result()
    return answer


def partition_count(client, topic):
    """Partitions that have a leader; 0 where the topic does not exist."""
    found = client.list_topics(timeout=10).topics.get(topic)
    if found is None or found.error is not None:
        return 0
    return sum(1 for p in found.partitions.values() if p.error is None and p.leader >= 0)


def watermarks(bootstrap, client, topic):
    """{partition: [low, high]}"""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tapehouse-admin"})
    try:
        count = partition_count(client, topic)
        return {p: list(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)) for p in range(count)}
    finally:
        consumer.close()


def create(client, topic, count, config):
    """Creates the topic; right after a deletion the broker may still refuse the name."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            done(client.create_topics([NewTopic(topic, count, 1, config=config)]))
            break
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    until("creation", lambda: partition_count(client, topic) == count)


def group(client, name, topic, count):
    """{partition: committed offset}, without the partitions that have none."""
    asked = ConsumerGroupTopicPartitions(name, [TopicPartition(topic, p) for p in range(count)])
    answer = done(client.list_consumer_group_offsets([asked]))
    return {p.partition: p.offset for p in answer.topic_partitions if p.offset >= 0}


def await_compacted(bootstrap, client, topic, most):
    """Waits until at most `most` records are visible and their number stays for STABLE_S."""
    seen = dict(visible=-1, since=time.monotonic())

    def is_stable():
        visible = visible_offsets(bootstrap, topic).num_rows
        if visible != seen["visible"]:
            seen.update(visible=visible, since=time.monotonic())
        return visible <= most and time.monotonic() - seen["since"] > STABLE_S

    until(f"compaction of {topic} to {most} records", is_stable)
    stored = watermarks(bootstrap, client, topic)
    return dict(visible=seen["visible"], offsets=sum(high - low for low, high in stored.values()))


def main():
    bootstrap, action, topic, *rest = sys.argv[1:]
    client = AdminClient({"bootstrap.servers": bootstrap})
    if action == "create":
        config = dict(pair.split("=", 1) for pair in rest[1:])
        names = topic.split(",")
        done(client.create_topics([NewTopic(name, int(rest[0]), 1, config=config) for name in names]))
        until("creation", lambda: all(partition_count(client, name) == int(rest[0]) for name in names))
    elif action == "recreate":
        done(client.delete_topics([topic]))
        create(client, topic, int(rest[0]), {})
    elif action == "partitions":
        done(client.create_partitions([NewPartitions(topic, int(rest[0]))]))
        until("new partitions", lambda: partition_count(client, topic) == int(rest[0]))
    elif action == "delete":
        done(client.delete_topics([topic]))
        until("deletion", lambda: partition_count(client, topic) == 0)
    elif action == "truncate":
        done(client.delete_records([TopicPartition(topic, int(rest[0]), int(rest[1]))]))
    elif action == "alter":
        changes = [ConfigEntry(*pair.split("=", 1), incremental_operation=AlterConfigOpType.SET) for pair in rest]
        done(client.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes)]))
    elif action == "visible":
        pyarrow.parquet.write_table(visible_offsets(bootstrap, topic), rest[0])
    elif action == "watermarks":
        print(json.dumps(watermarks(bootstrap, client, topic)))
    elif action == "group":
        print(json.dumps(group(client, topic, rest[0], partition_count(client, rest[0]))))
    elif action == "grant":
        done(client.create_acls([AclBinding(ResourceType.TOPIC, rest[0], ResourcePatternType.LITERAL, f"User:{topic}", "*",
                                            AclOperation.READ, AclPermissionType.ALLOW)]))
    elif action == "await-count":
        until(f"{rest[0]} records in {topic}", lambda: visible_offsets(bootstrap, topic).num_rows == int(rest[0]))
    elif action == "await-compacted":
        print(json.dumps(await_compacted(bootstrap, client, topic, int(rest[0]))))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
