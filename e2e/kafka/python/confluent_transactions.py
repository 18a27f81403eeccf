"""confluent-kafka in transactions: each record of one topic becomes one of another, some only at the second attempt."""

import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

DEADLINE_SECONDS = 150
BATCH = 25
TIMEOUT = 20


class Pipe:
    """Reads, and writes what was read together with how far it has come."""

    def __init__(self, address, source, target):
        self.source, self.target = source, target
        self.consumer = Consumer({
            "bootstrap.servers": address, "group.id": "pipe", "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "isolation.level": "read_committed",
        })
        self.producer = Producer({
            "bootstrap.servers": address, "transactional.id": "pipe", "transaction.timeout.ms": 10_000,
        })
        self.consumer.subscribe([source])
        self.attempts = 0
        self.aborted = 0
        self.again(lambda: self.producer.init_transactions(TIMEOUT))

    def again(self, call):
        """Calls until it is done, as long as that may help."""
        while True:
            try:
                return call()
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise

    def turn(self):
        """One transaction, if there is something to read."""
        messages = [it for it in self.consumer.consume(BATCH, 1) if not it.error()]
        if not messages:
            return False
        self.attempts += 1
        try:
            self.again(self.producer.begin_transaction)
            for message in messages:
                self.producer.produce(self.target, message.value(), partition=0)
            places = self.consumer.position(self.consumer.assignment())
            group = self.consumer.consumer_group_metadata()
            self.again(lambda: self.producer.send_offsets_to_transaction(places, group, TIMEOUT))
            if self.attempts % 4 == 0:
                self.abort()
            else:
                self.again(lambda: self.producer.commit_transaction(TIMEOUT))
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            print(f"aborted for {error}", file=sys.stderr)
            self.abort()
        return True

    def abort(self):
        """What was read is read again."""
        self.aborted += 1
        self.again(lambda: self.producer.abort_transaction(TIMEOUT))
        places = self.again(lambda: self.consumer.committed(self.consumer.assignment(), TIMEOUT))
        for place in places:
            offset = max(place.offset, 0)
            self.consumer.seek(TopicPartition(place.topic, place.partition, offset))


def committed(address, topic):
    """The values that readers of committed records see."""
    consumer = Consumer({
        "bootstrap.servers": address, "group.id": "judge", "isolation.level": "read_committed",
        "enable.partition.eof": True, "enable.auto.commit": False,
    })
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = []
    while True:
        message = consumer.poll(TIMEOUT)
        if message is None:
            sys.exit("no end of the topic")
        if message.error():
            if message.error().code() == KafkaError._PARTITION_EOF:
                consumer.close()
                return values
            continue
        values.append(message.value())


def main(address, source, target, count):
    pipe = Pipe(address, source, target)
    deadline = time.monotonic() + DEADLINE_SECONDS
    values = []
    while len(values) < int(count):
        if time.monotonic() > deadline:
            sys.exit(f"{len(values)} records in time")
        if not pipe.turn():
            values = committed(address, target)
    pipe.consumer.close()
    values = committed(address, target)
    if len(values) != int(count) or len(set(values)) != len(values):
        sys.exit(f"{len(values)} values, {len(set(values))} of them different")
    if pipe.aborted < 2:
        sys.exit("nothing was aborted")
    print(f"ok: {len(values)} records in {pipe.attempts} transactions, {pipe.aborted} aborted")


if __name__ == "__main__":
    main(*sys.argv[1:])
