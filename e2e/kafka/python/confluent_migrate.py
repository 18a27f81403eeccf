"""confluent-kafka in a group that moves to the consumer protocol and back while its members read on."""

import sys
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from group import DEADLINE_SECONDS, PARTITIONS, check

GROUP = "movers"
RECORDS = 100


class Scenario:
    def __init__(self, address, topic):
        self.address, self.topic = address, topic
        self.admin = AdminClient({"bootstrap.servers": address})
        self.admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
        self.producer = Producer({"bootstrap.servers": address})
        self.members = {}
        self.read = []

    def join(self, name, protocol):
        settings = {
            "bootstrap.servers": self.address, "group.id": GROUP, "client.id": name, "group.protocol": protocol,
            "auto.offset.reset": "earliest", "auto.commit.interval.ms": 200,
        }
        if protocol == "classic":
            settings |= {
                "session.timeout.ms": 10_000, "heartbeat.interval.ms": 500,
                "partition.assignment.strategy": "cooperative-sticky",
            }
        self.members[name] = Consumer(settings)
        self.members[name].subscribe([self.topic])

    def leave(self, name):
        self.members.pop(name).close()

    def shared(self, *sizes):
        """Waits until the members have so many partitions, each one its own."""
        def holds():
            owned = [{at.partition for at in member.assignment()} for member in self.members.values()]
            return sorted(map(len, owned)) == sorted(sizes) and len(set().union(*owned)) == sum(sizes)
        self.until(f"{list(self.members)} share {sizes}", holds)

    def pass_on(self):
        """Produces, and waits until the members have read it."""
        before = len(self.read)
        for number in range(RECORDS):
            self.producer.produce(self.topic, value=str(number), partition=number % PARTITIONS)
        check("records left", self.producer.flush(30), 0)
        self.until("all is read", lambda: len(self.read) >= before + RECORDS)
        check("records that were read twice", len(self.read) - len(set(self.read)), 0)

    def until(self, what, holds):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                sys.exit(f"not in time: {what}")
            for member in self.members.values():
                for message in member.consume(100, 0.1):
                    check("the error", message.error(), None)
                    self.read.append((message.partition(), message.offset()))

    def protocol(self):
        return self.admin.describe_consumer_groups([GROUP])[GROUP].result().type.name


def main(address, topic):
    scenario = Scenario(address, topic)
    scenario.join("first", "classic")
    scenario.join("second", "classic")
    scenario.shared(2, 2)
    scenario.pass_on()
    scenario.join("third", "consumer")
    scenario.shared(1, 1, 2)
    check("the protocol", scenario.protocol(), "CONSUMER")
    scenario.pass_on()
    scenario.leave("first")
    scenario.leave("second")
    scenario.shared(4)
    scenario.pass_on()
    scenario.join("fourth", "classic")
    scenario.shared(2, 2)
    scenario.leave("third")
    scenario.shared(4)
    check("the protocol", scenario.protocol(), "CLASSIC")
    scenario.pass_on()
    scenario.leave("fourth")
    print(f"ok: {len(scenario.read)} records in {topic}")


if __name__ == "__main__":
    main(*sys.argv[1:])
