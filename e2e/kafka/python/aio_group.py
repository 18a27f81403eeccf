"""aiokafka in a group: two members share a topic, one leaves, the other takes over."""

import asyncio
import sys
from collections import Counter

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from group import DEADLINE_SECONDS, PARTITIONS, RECORDS, check

GROUP = "readers of aiokafka"


async def join(address, topic, name):
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=address, group_id=GROUP, client_id=name,
        auto_offset_reset="earliest", auto_commit_interval_ms=200,
        session_timeout_ms=10_000, heartbeat_interval_ms=500,
    )
    await consumer.start()
    return consumer


async def read(consumer, records):
    while True:
        for at, batch in (await consumer.getmany(timeout_ms=200)).items():
            records.extend((at.partition, record.offset) for record in batch)


async def until(what, holds):
    for _ in range(DEADLINE_SECONDS * 20):
        if holds():
            return
        await asyncio.sleep(0.05)
    sys.exit(f"not in time: {what}")


async def main(address, topic):
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    producer = AIOKafkaProducer(bootstrap_servers=address)
    await producer.start()

    async def produce(first, count):
        # Together: one that waits for the other would be a PUT for each record.
        sent = [
            await producer.send(topic, str(number).encode(), partition=number % PARTITIONS)
            for number in range(first, first + count)
        ]
        await asyncio.gather(*sent)

    records = []
    first = await join(address, topic, "first")
    first_reads = asyncio.create_task(read(first, records))
    await until("one member has all", lambda: len(first.assignment()) == PARTITIONS)
    second = await join(address, topic, "second")
    second_reads = asyncio.create_task(read(second, records))
    half = PARTITIONS // 2
    await until("both have a half", lambda: [len(it.assignment()) for it in (first, second)] == [half, half])
    await produce(0, RECORDS)
    await until("all is read", lambda: len(records) >= RECORDS)
    second_reads.cancel()
    await second.stop()
    await until("the first has all again", lambda: len(first.assignment()) == PARTITIONS)
    await produce(RECORDS, RECORDS)
    await until("the rest is read", lambda: len(records) >= 2 * RECORDS)
    first_reads.cancel()
    await first.stop()
    once = Counter(records)
    check("each record was read once", (len(once), set(once.values())), (2 * RECORDS, {1}))
    offsets = await admin.list_consumer_group_offsets(GROUP)
    check("the committed offsets", sum(it.offset for it in offsets.values()), 2 * RECORDS)
    check("the groups", [name for name, *_ in await admin.list_consumer_groups()], [GROUP])
    await producer.stop()
    await admin.close()
    print(f"ok: {2 * RECORDS} records in {topic}")


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 4 * DEADLINE_SECONDS))
