"""kafka-python against a broker."""

import sys

from kafka import IsolationLevel, KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.consumer.group import ConsumerGroupMetadata

from whole import Record, play

DEADLINE_SECONDS = 30
DEADLINE_MS = 30_000


class Client:
    def __init__(self, address):
        self.address = address
        self.admin = KafkaAdminClient(bootstrap_servers=address)
        self.transactional = None

    def close(self):
        self.transactional.close()
        self.admin.close()

    def topics(self):
        return self.admin.list_topics()

    def create_topic(self, topic, partitions, config):
        self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config)])

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])

    def configure(self, topic, key, value):
        self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={key: value})])

    def configured(self, topic, key):
        described = self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return described["topic"][topic][key]["value"]

    def add_partitions(self, topic, count):
        self.admin.create_partitions({topic: NewPartitions(count)})

    def delete_records(self, topic, partition, before):
        self.admin.delete_records({TopicPartition(topic, partition): before})

    def produce(self, topic, partition, codec, records):
        producer = KafkaProducer(
            bootstrap_servers=self.address, acks="all", enable_idempotence=True, linger_ms=5,
            compression_type=None if codec == "none" else codec,
        )
        sent = [
            producer.send(topic, value=it.value, key=it.key, headers=it.headers, partition=partition,
                          timestamp_ms=it.timestamp)
            for it in records
        ]
        offsets = [it.get(timeout=DEADLINE_SECONDS).offset for it in sent]
        producer.close()
        return offsets

    def consumer(self, topic, partition, **more):
        consumer = KafkaConsumer(bootstrap_servers=self.address, consumer_timeout_ms=DEADLINE_MS, **more)
        at = TopicPartition(topic, partition)
        consumer.assign([at])
        return consumer, at

    def taken(self, topic, partition, offset, count, **more):
        consumer, at = self.consumer(topic, partition, **more)
        consumer.seek(at, offset)
        found = []
        for record in consumer:
            found.append(record)
            if len(found) == count:
                break
        consumer.close()
        return found

    def read(self, topic, partition, offset, count):
        return [
            (it.offset, Record(it.key, it.value, list(it.headers), it.timestamp))
            for it in self.taken(topic, partition, offset, count)
        ]

    def values(self, topic, partition, count, committed):
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        found = self.taken(topic, partition, 0, count, isolation_level=level)
        return [it.value for it in found]

    def bounds(self, topic, partition):
        consumer, at = self.consumer(topic, partition)
        bounds = consumer.beginning_offsets([at])[at], consumer.end_offsets([at])[at]
        consumer.close()
        return bounds

    def offset_of(self, topic, partition, timestamp):
        consumer, at = self.consumer(topic, partition)
        found = consumer.offsets_for_times({at: timestamp})[at]
        consumer.close()
        return found.offset

    def transact(self, topic, partition, values, place, commits):
        if not self.transactional:
            self.transactional = KafkaProducer(bootstrap_servers=self.address, transactional_id="kafka-python")
            self.transactional.init_transactions()
        producer = self.transactional
        producer.begin_transaction()
        for value in values:
            producer.send(topic, value=value, partition=partition)
        group, at, offset = place
        offsets = {TopicPartition(topic, at): OffsetAndMetadata(offset, "", -1)}
        producer.send_offsets_to_transaction(offsets, ConsumerGroupMetadata(group, -1, "", None))
        producer.flush()
        if commits:
            producer.commit_transaction()
        else:
            producer.abort_transaction()

    def committed(self, group, topic, partition):
        offsets = self.admin.list_group_offsets({group: [TopicPartition(topic, partition)]})
        return offsets[group][TopicPartition(topic, partition)].offset


if __name__ == "__main__":
    play(Client(sys.argv[1]), sys.argv[2])
