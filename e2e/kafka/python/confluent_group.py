"""confluent-kafka in a group of either protocol: members come and go, and operators look, set offsets and delete."""

import sys

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from group import PARTITIONS, RECORDS, check, share_and_rebalance


class Reader:
    def __init__(self, address, topic, group, protocol, name):
        settings = {
            "bootstrap.servers": address, "group.id": group, "client.id": name, "group.protocol": protocol,
            "auto.offset.reset": "earliest", "auto.commit.interval.ms": 200,
        }
        if protocol == "classic":
            settings |= {
                "session.timeout.ms": 10_000, "heartbeat.interval.ms": 500,
                "partition.assignment.strategy": "cooperative-sticky",
            }
        self.consumer = Consumer(settings)
        # A pattern is looked at by the coordinator in the consumer protocol, by the member in the other.
        self.consumer.subscribe([f"^{topic[:-1]}.$"])

    def poll(self):
        messages = self.consumer.consume(500, 0.2)
        for message in messages:
            check("the error", message.error(), None)
        return [(message.partition(), message.offset()) for message in messages]

    def has(self):
        return {at.partition for at in self.consumer.assignment()}

    def leave(self):
        self.consumer.close()


def main(address, topic, protocol):
    group = f"readers of confluent-kafka, {protocol}"
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True})

    def produce(first, count):
        for number in range(first, first + count):
            producer.produce(topic, value=str(number), partition=number % PARTITIONS)
        check("records left", producer.flush(30), 0)

    def committed():
        asked = [ConsumerGroupTopicPartitions(group)]
        answer = admin.list_consumer_group_offsets(asked)[group].result()
        return {at.partition: at.offset for at in answer.topic_partitions}

    share_and_rebalance(lambda name: Reader(address, topic, group, protocol, name), produce, committed)
    look_and_delete(admin, topic, group, protocol, committed)
    print(f"ok: {2 * RECORDS + 10} records in {topic}")


def look_and_delete(admin, topic, group, protocol, committed):
    listed = [it for it in admin.list_consumer_groups().result().valid if it.group_id == group]
    check("the groups of this name", [it.type.name.lower() for it in listed], [protocol])
    described = admin.describe_consumer_groups([group])[group].result()
    check("the state", described.state.name, "EMPTY")
    check("its members", described.members, [])
    partition = TopicPartition(topic, 0, 7)
    answer = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [partition])])
    answer[group].result()
    check("the offset that was set", committed()[0], 7)
    admin.delete_consumer_groups([group])[group].result()
    check("the offsets that are left", committed(), {})


if __name__ == "__main__":
    main(*sys.argv[1:])
