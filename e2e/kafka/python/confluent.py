"""confluent-kafka against a broker: an idempotent producer, offsets, a consumer with partitions of its own."""

import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 2
RECORDS = 5_000
DEADLINE_SECONDS = 60


def main(address: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
    produce(address, topic)
    consume(address, topic)
    print(f"ok: {RECORDS} records in {topic}")


def produce(address, topic):
    producer = Producer({
        "bootstrap.servers": address, "enable.idempotence": True,
        "compression.type": "zstd", "linger.ms": 5,
    })
    failed = []

    def delivered(error, _):
        if error:
            failed.append(error)

    for number in range(RECORDS):
        value = f"value {number}"
        producer.produce(topic, value=value, partition=number % PARTITIONS, on_delivery=delivered)
        producer.poll(0)
    check("records left", producer.flush(DEADLINE_SECONDS), 0)
    check("errors", failed, [])


def consume(address, topic):
    # The group is never joined: partitions are assigned by hand.
    consumer = Consumer({"bootstrap.servers": address, "group.id": "none", "enable.auto.commit": False})
    partitions = [TopicPartition(topic, at, OFFSET_BEGINNING) for at in range(PARTITIONS)]
    consumer.assign(partitions)
    read = {at: [] for at in range(PARTITIONS)}
    deadline = time.monotonic() + DEADLINE_SECONDS
    while sum(map(len, read.values())) < RECORDS and time.monotonic() < deadline:
        for message in consumer.consume(1_000, 1.0):
            check("the error", message.error(), None)
            check("the offset", message.offset(), len(read[message.partition()]))
            read[message.partition()].append(message.value().decode())
    for at in range(PARTITIONS):
        check("the values", read[at], [f"value {number}" for number in range(at, RECORDS, PARTITIONS)])
    check("the bounds", consumer.get_watermark_offsets(partitions[0]), (0, RECORDS // PARTITIONS))
    consumer.close()


def check(what, got, expected):
    if got != expected:
        sys.exit(f"{what}: expected {expected!r}, got {got!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
