"""What each client does, whatever its language: administers, writes with every compression, reads, seeks, finds offsets
by time, and writes in transactions of which one is aborted."""

import sys
from typing import NamedTuple

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PARTITIONS = 2
# Of each codec, in each partition.
RECORDS = 100
FIRST_TIME = 1_700_000_000_000
GROUP = "pipe"


class Record(NamedTuple):
    key: bytes
    value: bytes
    headers: list
    timestamp: int


def play(client, topic):
    administer(client, topic)
    written = write(client, topic)
    read(client, topic, written)
    transact(client, topic)
    cut(client, topic, len(written))
    client.delete_topic(topic)
    check("the topic is listed", topic in client.topics(), False)
    client.close()
    print(f"ok: {PARTITIONS * len(written)} records in {topic}")


def administer(client, topic):
    client.create_topic(topic, PARTITIONS, {"retention.ms": "-1"})
    check("the topic is listed", topic in client.topics(), True)
    client.configure(topic, "max.message.bytes", "900000")
    check("the configuration", client.configured(topic, "max.message.bytes"), "900000")
    client.add_partitions(topic, PARTITIONS + 1)


def write(client, topic):
    """The same records into each partition; returns those of one."""
    written = []
    for codec in CODECS:
        first = len(written)
        for number in range(first, first + RECORDS):
            key = str(number).encode()
            headers = [("number", key), ("number", b"again"), ("empty", b"")]
            written.append(Record(key, b"value " * 20 + key, headers, FIRST_TIME + number))
        for partition in range(PARTITIONS):
            offsets = client.produce(topic, partition, codec, written[first:])
            check(f"the offsets with {codec}", offsets, list(range(first, first + RECORDS)))
    return written


def read(client, topic, written):
    count = len(written)
    for partition in range(PARTITIONS):
        check("the bounds", client.bounds(topic, partition), (0, count))
        check("all records", client.read(topic, partition, 0, count), list(enumerate(written)))
    middle = count // 2 + 7
    after_seek = list(enumerate(written))[middle:]
    check("records after a seek", client.read(topic, 1, middle, len(after_seek)), after_seek)
    check("the offset of a time", client.offset_of(topic, 0, FIRST_TIME + middle), middle)
    check("the offset of a time before", client.offset_of(topic, 0, 1), 0)


def transact(client, topic):
    """Three transactions, of which one is aborted, each with an offset of a group."""
    at = PARTITIONS
    for number, commits in enumerate([True, False, True]):
        values = [f"{number} {letter}".encode() for letter in "abc"]
        client.transact(topic, at, values, (GROUP, 0, 10 + number), commits)
        expected = 10 if number < 2 else 12
        check("the committed offset", client.committed(GROUP, topic, 0), expected)
    values = [f"{number} {letter}".encode() for number in (0, 2) for letter in "abc"]
    check("the committed values", client.values(topic, at, len(values), committed=True), values)
    values = [f"{number} {letter}".encode() for number in (0, 1, 2) for letter in "abc"]
    check("all values", client.values(topic, at, len(values), committed=False), values)


def cut(client, topic, count):
    client.delete_records(topic, 0, 42)
    check("the bounds after records are deleted", client.bounds(topic, 0), (42, count))


def check(what, got, expected):
    if got != expected:
        sys.exit(f"{what}: expected {expected!r}, got {got!r}")
