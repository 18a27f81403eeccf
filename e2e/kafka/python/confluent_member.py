"""confluent-kafka as a member of the group `shared`, by the consumer protocol, until it is asked to end.

It prints the value of each record, and commits what it has printed.
"""

import signal
import sys

from confluent_kafka import Consumer


def main(address, topic):
    member = Consumer({
        "bootstrap.servers": address, "group.id": "shared", "group.protocol": "consumer", "client.id": "kafka",
        "auto.offset.reset": "earliest", "auto.commit.interval.ms": 200,
    })
    member.subscribe([topic])
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    while not asked:
        for message in member.consume(100, 0.2):
            if message.error():
                if message.error().fatal():
                    sys.exit(str(message.error()))
                continue
            print(message.value().decode(), flush=True)
    member.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
