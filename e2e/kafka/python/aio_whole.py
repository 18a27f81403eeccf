"""aiokafka against a broker."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition

from whole import Record, play

TIMEOUT_MS = 30_000


class Client:
    def __init__(self, address, loop):
        self.address, self.loop = address, loop
        self.admin = self.start(lambda: AIOKafkaAdminClient(bootstrap_servers=address))
        self.transactional = None

    def close(self):
        self.done(self.transactional.stop())
        self.done(self.admin.close())

    def done(self, future):
        return self.loop.run_until_complete(asyncio.wait_for(future, TIMEOUT_MS / 1_000))

    def start(self, made):
        async def start():
            started = made()
            await started.start()
            return started

        return self.done(start())

    def topics(self):
        return self.done(self.admin.list_topics())

    def create_topic(self, topic, partitions, config):
        self.done(self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config)]))

    def delete_topic(self, topic):
        self.done(self.admin.delete_topics([topic]))

    def configure(self, topic, key, value):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={key: value})
        self.done(self.admin.alter_configs([resource]))

    def configured(self, topic, key):
        [answer] = self.done(self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
        [resource] = answer.resources
        return next(entry[1] for entry in resource[4] if entry[0] == key)

    def add_partitions(self, topic, count):
        self.done(self.admin.create_partitions({topic: NewPartitions(count)}))

    def delete_records(self, topic, partition, before):
        self.done(self.admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)}))

    def produce(self, topic, partition, codec, records):
        producer = self.start(lambda: AIOKafkaProducer(
            bootstrap_servers=self.address, enable_idempotence=True, linger_ms=5,
            compression_type=None if codec == "none" else codec,
        ))

        async def send():
            sent = [
                await producer.send(topic, value=it.value, key=it.key, headers=it.headers, partition=partition,
                                    timestamp_ms=it.timestamp)
                for it in records
            ]
            return [it.offset for it in await asyncio.gather(*sent)]

        offsets = self.done(send())
        self.done(producer.stop())
        return offsets

    def consumer(self, topic, partition, **more):
        consumer = self.start(lambda: AIOKafkaConsumer(bootstrap_servers=self.address, **more))
        at = TopicPartition(topic, partition)

        async def assign():
            consumer.assign([at])

        self.done(assign())
        return consumer, at

    def taken(self, topic, partition, offset, count, **more):
        consumer, at = self.consumer(topic, partition, **more)

        async def take():
            consumer.seek(at, offset)
            found = []
            while len(found) < count:
                found.extend((await consumer.getmany(at, timeout_ms=1_000, max_records=count - len(found))).get(at, []))
            return found

        found = self.done(take())
        self.done(consumer.stop())
        return found

    def read(self, topic, partition, offset, count):
        return [
            (it.offset, Record(it.key, it.value, list(it.headers), it.timestamp))
            for it in self.taken(topic, partition, offset, count)
        ]

    def values(self, topic, partition, count, committed):
        level = "read_committed" if committed else "read_uncommitted"
        return [it.value for it in self.taken(topic, partition, 0, count, isolation_level=level)]

    def bounds(self, topic, partition):
        consumer, at = self.consumer(topic, partition)
        first = self.done(consumer.beginning_offsets([at]))[at]
        end = self.done(consumer.end_offsets([at]))[at]
        self.done(consumer.stop())
        return first, end

    def offset_of(self, topic, partition, timestamp):
        consumer, at = self.consumer(topic, partition)
        found = self.done(consumer.offsets_for_times({at: timestamp}))[at]
        self.done(consumer.stop())
        return found.offset

    def transact(self, topic, partition, values, place, commits):
        if not self.transactional:
            self.transactional = self.start(lambda: AIOKafkaProducer(
                bootstrap_servers=self.address, transactional_id="aiokafka",
            ))
        producer = self.transactional
        self.done(producer.begin_transaction())
        for value in values:
            self.done(producer.send_and_wait(topic, value, partition=partition))
        group, at, offset = place
        self.done(producer.send_offsets_to_transaction({TopicPartition(topic, at): offset}, group))
        self.done(producer.commit_transaction() if commits else producer.abort_transaction())

    def committed(self, group, topic, partition):
        at = TopicPartition(topic, partition)
        return self.done(self.admin.list_consumer_group_offsets(group, partitions=[at]))[at].offset


if __name__ == "__main__":
    play(Client(sys.argv[1], asyncio.new_event_loop()), sys.argv[2])
