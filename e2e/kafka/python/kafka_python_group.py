"""kafka-python in a group: members come and go, and operators look, set offsets and delete."""

import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.structs import OffsetAndMetadata

from group import PARTITIONS, RECORDS, check, share_and_rebalance

GROUP = "readers of kafka-python"


class Reader:
    def __init__(self, address, topic, name):
        self.consumer = KafkaConsumer(
            topic, bootstrap_servers=address, group_id=GROUP, client_id=name,
            auto_offset_reset="earliest", enable_auto_commit=True, auto_commit_interval_ms=200,
            session_timeout_ms=10_000, heartbeat_interval_ms=500,
        )

    def poll(self):
        batches = self.consumer.poll(timeout_ms=200).items()
        return [(at.partition, record.offset) for at, records in batches for record in records]

    def has(self):
        return {at.partition for at in self.consumer.assignment()}

    def leave(self):
        self.consumer.close()


def main(address, topic):
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    producer = KafkaProducer(bootstrap_servers=address)

    def produce(first, count):
        for number in range(first, first + count):
            producer.send(topic, value=str(number).encode(), partition=number % PARTITIONS)
        producer.flush()

    def committed():
        offsets = admin.list_group_offsets({GROUP: None})[GROUP]
        return {at.partition: offset.offset for at, offset in offsets.items()}

    share_and_rebalance(lambda name: Reader(address, topic, name), produce, committed)
    look_and_delete(admin, topic, committed)
    producer.close()
    admin.close()
    print(f"ok: {2 * RECORDS + 10} records in {topic}")


def look_and_delete(admin, topic, committed):
    listed = [group for group in admin.list_groups() if group["group_id"] == GROUP]
    check("the groups of this name", len(listed), 1)
    described = admin.describe_groups([GROUP])[GROUP]
    check("the state", described["group_state"], "Empty")
    partition = TopicPartition(topic, 0)
    admin.alter_group_offsets(GROUP, {partition: OffsetAndMetadata(7, "set by hand", -1)})
    check("the offset that was set", committed()[0], 7)
    admin.delete_group_offsets(GROUP, [partition])
    check("the offset that was deleted", 0 in committed(), False)
    check("the deletion", admin.delete_groups([GROUP]), {GROUP: "OK"})
    check("the offsets that are left", committed(), {})


if __name__ == "__main__":
    main(*sys.argv[1:])
