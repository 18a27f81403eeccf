"""confluent-kafka in a group for as long as it takes: two members read a topic until they have so many records."""

import sys
import time

from confluent_kafka import Consumer

DEADLINE_SECONDS = 100


def main(address, topic, protocol, count):
    settings = {
        "bootstrap.servers": address, "group.id": f"steady, {protocol}", "group.protocol": protocol,
        "auto.offset.reset": "earliest", "auto.commit.interval.ms": 500,
    }
    members = [Consumer(settings | {"client.id": name}) for name in ("first", "second")]
    for member in members:
        member.subscribe([topic])
    read = set()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(read) < int(count):
        if time.monotonic() > deadline:
            sys.exit(f"{len(read)} records in time")
        for member in members:
            for message in member.consume(100, 0.1):
                # Of errors only those that end a member end the scenario: the others are told for the log.
                if message.error():
                    if message.error().fatal():
                        sys.exit(str(message.error()))
                    continue
                read.add((message.partition(), message.offset()))
    for member in members:
        member.close()
    print(f"ok: {len(read)} records in {topic}")


if __name__ == "__main__":
    main(*sys.argv[1:])
