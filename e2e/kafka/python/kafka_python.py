"""kafka-python against a broker: administers, produces, seeks, asks for offsets and consumes."""

import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic

PARTITIONS = 3
RECORDS = 2_000
DEADLINE_MS = 30_000


def main(address: str, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs={"retention.ms": "3600000"})])
    check("the topic is listed", topic in admin.list_topics(), True)

    configure(admin, topic)
    expected = produce(address, topic)
    consume(address, topic, expected)
    admin.delete_topics([topic])
    check("the topic is gone", topic in admin.list_topics(), False)
    admin.close()
    print(f"ok: {RECORDS} records in {topic}")


def configure(admin, topic):
    """Changes a key of the topic and reads it again."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": "900000"})
    admin.alter_configs([resource])
    described = str(admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
    check("the key that was set", "900000" in described, True)
    admin.create_partitions({topic: NewPartitions(PARTITIONS + 1)})


def produce(address, topic):
    """Returns what each partition should hold, in order."""
    producer = KafkaProducer(bootstrap_servers=address, acks="all", compression_type="gzip", linger_ms=5)
    sent = []
    for number in range(RECORDS):
        partition = number % PARTITIONS
        value = f"value {number}".encode()
        headers = [("number", str(number).encode())]
        timestamp = 1_700_000_000_000 + number
        future = producer.send(
            topic, value=value, key=str(number).encode(), headers=headers,
            partition=partition, timestamp_ms=timestamp,
        )
        sent.append((partition, value, timestamp, future))
    producer.flush()
    expected = {partition: [] for partition in range(PARTITIONS)}
    for partition, value, timestamp, future in sent:
        metadata = future.get(timeout=30)
        check("the offset", metadata.offset, len(expected[partition]))
        expected[partition].append((value, timestamp))
    producer.close()
    return expected


def consume(address, topic, expected):
    consumer = KafkaConsumer(bootstrap_servers=address, consumer_timeout_ms=DEADLINE_MS)
    partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(partitions)
    check("the ends", consumer.end_offsets(partitions),
          {at: len(expected[at.partition]) for at in partitions})
    check("the beginnings", set(consumer.beginning_offsets(partitions).values()), {0})
    middle = expected[0][100][1]
    found = consumer.offsets_for_times({partitions[0]: middle})[partitions[0]]
    check("the offset of a time", (found.offset, found.timestamp), (100, middle))

    consumer.seek_to_beginning(*partitions)
    read = {partition: [] for partition in range(PARTITIONS)}
    count = 0
    for record in consumer:
        check("the offset", record.offset, len(read[record.partition]))
        check("the header", record.headers, [("number", record.key)])
        read[record.partition].append((record.value, record.timestamp))
        count += 1
        if count == RECORDS:
            break
    check("all records", read, expected)
    consumer.close()


def check(what, got, expected):
    if got != expected:
        sys.exit(f"{what}: expected {expected!r}, got {got!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
