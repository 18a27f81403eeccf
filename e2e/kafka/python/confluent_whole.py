"""confluent-kafka against a broker: a newer librdkafka than that of kcat."""

import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
)

from whole import Record, play

TIMEOUT = 30


class Client:
    def __init__(self, address):
        self.address = address
        self.admin = AdminClient({"bootstrap.servers": address})
        self.transactional = None

    def close(self):
        self.transactional.flush(TIMEOUT)

    def topics(self):
        return self.admin.list_topics(timeout=TIMEOUT).topics

    def create_topic(self, topic, partitions, config):
        self.admin.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(TIMEOUT)

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])[topic].result(TIMEOUT)

    def configure(self, topic, key, value):
        entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(TIMEOUT)

    def configured(self, topic, key):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        return self.admin.describe_configs([resource])[resource].result(TIMEOUT)[key].value

    def add_partitions(self, topic, count):
        self.admin.create_partitions([NewPartitions(topic, count)])[topic].result(TIMEOUT)

    def delete_records(self, topic, partition, before):
        at = TopicPartition(topic, partition, before)
        self.admin.delete_records([at])[at].result(TIMEOUT)

    def produce(self, topic, partition, codec, records):
        producer = Producer({
            "bootstrap.servers": self.address, "enable.idempotence": True, "compression.type": codec, "linger.ms": 5,
        })
        offsets = []

        def delivered(error, message):
            offsets.append(error or message.offset())

        for it in records:
            producer.produce(topic, value=it.value, key=it.key, headers=it.headers, partition=partition,
                             timestamp=it.timestamp, on_delivery=delivered)
        producer.flush(TIMEOUT)
        return offsets

    def consumer(self, **more):
        # The group is never joined: partitions are assigned by hand.
        return Consumer({"bootstrap.servers": self.address, "group.id": "none", "enable.auto.commit": False, **more})

    def taken(self, topic, partition, offset, count, **more):
        consumer = self.consumer(**more)
        consumer.assign([TopicPartition(topic, partition, offset)])
        found, deadline = [], time.monotonic() + TIMEOUT
        while len(found) < count and time.monotonic() < deadline:
            for message in consumer.consume(count - len(found), 1.0):
                if message.error():
                    sys.exit(str(message.error()))
                found.append(message)
        consumer.close()
        return found

    def read(self, topic, partition, offset, count):
        return [
            (it.offset(), Record(it.key(), it.value(), it.headers(), it.timestamp()[1]))
            for it in self.taken(topic, partition, offset, count)
        ]

    def values(self, topic, partition, count, committed):
        level = "read_committed" if committed else "read_uncommitted"
        return [it.value() for it in self.taken(topic, partition, 0, count, **{"isolation.level": level})]

    def bounds(self, topic, partition):
        consumer = self.consumer()
        bounds = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT)
        consumer.close()
        return bounds

    def offset_of(self, topic, partition, timestamp):
        consumer = self.consumer()
        found = consumer.offsets_for_times([TopicPartition(topic, partition, timestamp)], timeout=TIMEOUT)
        consumer.close()
        return found[0].offset

    def transact(self, topic, partition, values, place, commits):
        if not self.transactional:
            self.transactional = Producer({"bootstrap.servers": self.address, "transactional.id": "confluent"})
            self.transactional.init_transactions(TIMEOUT)
        producer = self.transactional
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, partition=partition)
        group, at, offset = place
        consumer = self.consumer(**{"group.id": group})
        metadata = consumer.consumer_group_metadata()
        producer.send_offsets_to_transaction([TopicPartition(topic, at, offset)], metadata, TIMEOUT)
        producer.flush(TIMEOUT)
        if commits:
            producer.commit_transaction(TIMEOUT)
        else:
            producer.abort_transaction(TIMEOUT)
        consumer.close()

    def committed(self, group, topic, partition):
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition)])
        found = self.admin.list_consumer_group_offsets([asked], require_stable=True)[group].result(TIMEOUT)
        return found.topic_partitions[0].offset


if __name__ == "__main__":
    play(Client(sys.argv[1]), sys.argv[2])
