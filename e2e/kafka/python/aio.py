"""aiokafka against a broker: an idempotent producer and a consumer with a partition of its own."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

RECORDS = 1_000
DEADLINE_SECONDS = 60


async def main(address: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()

    producer = AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True, compression_type="gzip")
    await producer.start()
    sent = [await producer.send(topic, f"value {number}".encode(), partition=0) for number in range(RECORDS)]
    offsets = [metadata.offset for metadata in await asyncio.gather(*sent)]
    check("the offsets", offsets, list(range(RECORDS)))
    await producer.stop()

    consumer = AIOKafkaConsumer(bootstrap_servers=address)
    await consumer.start()
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    await consumer.seek_to_beginning()
    read = []
    while len(read) < RECORDS:
        for records in (await consumer.getmany(timeout_ms=1_000)).values():
            read.extend(record.value.decode() for record in records)
    check("the values", read, [f"value {number}" for number in range(RECORDS)])
    check("the end", (await consumer.end_offsets([partition]))[partition], RECORDS)
    await consumer.stop()
    print(f"ok: {RECORDS} records in {topic}")


def check(what, got, expected):
    if got != expected:
        sys.exit(f"{what}: expected {expected!r}, got {got!r}")


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), DEADLINE_SECONDS))
