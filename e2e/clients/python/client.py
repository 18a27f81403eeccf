"""A Tidelog client made from the proto files alone. It produces, reads back and compares."""

import queue
import sys
import time
from collections import defaultdict

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tidelog.v1 import error_pb2, group_service_pb2_grpc, log_service_pb2, log_service_pb2_grpc, record_pb2
from tidelog.v1 import subscribe_pb2
from tidelog.v1 import topic_service_pb2, topic_service_pb2_grpc

PARTITIONS = 4
DEADLINE_SECONDS = 30


def main(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        topics = topic_service_pb2_grpc.TopicServiceStub(channel)
        log = log_service_pb2_grpc.LogServiceStub(channel)
        groups = group_service_pb2_grpc.GroupServiceStub(channel)
        topic = f"example-python-{time.time_ns()}"

        create_topic(topics, topic)
        # What each partition should hold, in order, as pairs of key and value.
        expected = defaultdict(list)
        started_ms = time.time_ns() // 1_000_000
        produce(log, topic, expected)
        produce_stream(log, topic, expected)
        produce_idempotently(log, topic, expected)
        append_on_condition(log, topic, expected)
        read_error_info(topics)
        fetch(log, topic, expected)
        tail(log, topic, expected)
        list_offsets_by_time(log, topic, started_ms)
        subscribe(groups, topic, expected)
    print(f"ok: {sum(map(len, expected.values()))} records in {topic}")


def create_topic(topics, topic):
    request = topic_service_pb2.CreateTopicRequest(
        name=topic, partition_count=PARTITIONS, config={"retention.ms": "86400000"}
    )
    created = topics.CreateTopic(request, timeout=DEADLINE_SECONDS).topic
    check("partitions of the new topic", created.partition_count, PARTITIONS)


def produce(log, topic, expected):
    """One entry; the server picks each record's partition by its key and tells which ones it picked."""
    records = [record(f"key-{n % 10}", f"produced {n}") for n in range(100)]
    entry = log_service_pb2.ProduceEntry(topic=topic, records=record_pb2.Records(records=records))
    response = log.Produce(log_service_pb2.ProduceRequest(entries=[entry]), timeout=DEADLINE_SECONDS)
    for batch in response.results[0].batches:
        appended(batch)
        for index in batch.record_indexes or range(len(records)):
            expected[batch.partition].append((records[index].key, records[index].value))
    check("records answered", sum(map(len, expected.values())), len(records))


def produce_stream(log, topic, expected):
    """Many entries under way at once; an answer names its entry by the correlation id."""
    partition_of = {n: n % PARTITIONS for n in range(200)}

    def requests():
        for n, partition in partition_of.items():
            entry = log_service_pb2.ProduceEntry(
                correlation_id=n,
                topic=topic,
                partition=partition,
                records=record_pb2.Records(records=[record(f"stream-{partition}", f"streamed {n}")]),
            )
            yield log_service_pb2.ProduceStreamRequest(entries=[entry])

    answered = set()
    for response in log.ProduceStream(requests(), timeout=DEADLINE_SECONDS):
        for result in response.results:
            appended(result.batches[0])
            answered.add(result.correlation_id)
    check("entries answered", answered, set(partition_of))
    for n, partition in partition_of.items():
        expected[partition].append((f"stream-{partition}".encode(), f"streamed {n}".encode()))


def produce_idempotently(log, topic, expected):
    """A producer that got no answer sends the same again: it is in the log once."""
    producer = log.InitProducer(log_service_pb2.InitProducerRequest(), timeout=DEADLINE_SECONDS)
    entry = log_service_pb2.ProduceEntry(
        topic=topic,
        partition=0,
        records=record_pb2.Records(records=[record("once", "only once")]),
        producer=log_service_pb2.ProducerSequence(
            producer_id=producer.producer_id, producer_epoch=producer.producer_epoch, base_sequence=0
        ),
    )
    first = appended(produce_entry(log, entry))
    again = appended(produce_entry(log, entry))
    check("a first batch is a duplicate", first.duplicate, False)
    check("a second one is", again.duplicate, True)
    check("its offset", again.base_offset, first.base_offset)
    expected[0].append((b"once", b"only once"))


def append_on_condition(log, topic, expected):
    """Append only if nobody else has appended since: the base of locks, counters and state machines."""
    entry = log_service_pb2.ProduceEntry(
        topic=topic,
        partition=1,
        records=record_pb2.Records(records=[record("condition", "met")]),
        expected_next_offset=0,
    )
    error = produce_entry(log, entry).error
    check("error of a wrong offset", error.code, error_pb2.ERROR_CODE_OFFSET_MISMATCH)
    check("actual next offset", error.metadata["next_offset"], str(len(expected[1])))

    entry.expected_next_offset = int(error.metadata["next_offset"])
    check("offset", appended(produce_entry(log, entry)).base_offset, len(expected[1]))
    expected[1].append((b"condition", b"met"))


def read_error_info(topics):
    """A call that fails as a whole says why in `google.rpc.ErrorInfo`, which programs can rely on."""
    try:
        topics.GetTopic(topic_service_pb2.GetTopicRequest(name="no-such-topic"), timeout=DEADLINE_SECONDS)
    except grpc.RpcError as error:
        check("status", error.code(), grpc.StatusCode.NOT_FOUND)
        info = error_details_pb2.ErrorInfo()
        details = [d for d in rpc_status.from_call(error).details if d.Is(info.DESCRIPTOR)]
        check("details of the kind", len(details), 1)
        details[0].Unpack(info)
        check("domain", info.domain, "tidelog.dev")
        check("reason", info.reason, "UNKNOWN_TOPIC")
    else:
        raise Mismatch("a topic that nobody created was found")


def fetch(log, topic, expected):
    """Read one partition from its beginning, answer by answer."""
    found, offset = [], 0
    while True:
        where = log_service_pb2.FetchPartition(topic=topic, partition=0, offset=offset)
        data = log.Fetch(log_service_pb2.FetchRequest(partitions=[where]), timeout=DEADLINE_SECONDS).partitions[0]
        check("error", data.error.code, error_pb2.ERROR_CODE_UNSPECIFIED)
        found += [(r.key, r.value) for r in data.records.records]
        offset = data.next_offset
        if offset == data.high_watermark:
            break
    check("partition 0 as fetched", found, expected[0])


def tail(log, topic, expected):
    """Read all partitions as a stream, here only until the end of what is there now."""
    request = log_service_pb2.TailRequest(
        topic=topic, position=record_pb2.OFFSET_POSITION_EARLIEST, until_end=True
    )
    found = defaultdict(list)
    for response in log.Tail(request, timeout=DEADLINE_SECONDS):
        for data in response.partitions:
            check("error", data.error.code, error_pb2.ERROR_CODE_UNSPECIFIED)
            for r in data.records.records:
                check("offset", r.offset, len(found[data.partition]))
                found[data.partition].append((r.key, r.value))
    for partition in range(PARTITIONS):
        check(f"partition {partition} as tailed", found[partition], expected[partition])


def list_offsets_by_time(log, topic, started_ms):
    """The first record at or after a time: offset 0 for the time at which we began, none for the future."""
    ask = log_service_pb2.ListOffsetsPartition
    request = log_service_pb2.ListOffsetsRequest(
        partitions=[
            ask(topic=topic, partition=0, timestamp_ms=started_ms),
            ask(topic=topic, partition=0, timestamp_ms=started_ms + 3_600_000),
        ]
    )
    then, future = log.ListOffsets(request, timeout=DEADLINE_SECONDS).results
    check("offset at the start", (then.HasField("offset"), then.offset), (True, 0))
    check("an offset in the future", future.HasField("offset"), False)


def subscribe(groups, topic, expected):
    """Read as a member of a group: one stops in the middle, the next one goes on where the first has committed."""
    half = sum(map(len, expected.values())) // 2
    found = defaultdict(dict)
    read_as_member(groups, topic, found, half)
    read_as_member(groups, topic, found, sum(map(len, expected.values())))
    for partition in range(PARTITIONS):
        values = [found[partition][offset] for offset in sorted(found[partition])]
        check(f"partition {partition} as read by a group", values, expected[partition])


def read_as_member(groups, topic, found, count):
    say = queue.SimpleQueue()

    def tell(**kind):
        say.put(subscribe_pb2.SubscribeRequest(**kind))

    tell(
        join=subscribe_pb2.SubscribeJoin(
            group=topic,
            topics=[topic],
            offset_reset=subscribe_pb2.OFFSET_RESET_EARLIEST,
            # No more than so many records are sent before more are asked for.
            credit=subscribe_pb2.SubscribeCredit(records=20),
        )
    )
    # The stream of requests ends with None.
    for response in groups.Subscribe(iter(say.get, None), timeout=DEADLINE_SECONDS):
        event = response.WhichOneof("event")
        if event == "assigned":
            for partition in response.assigned.partitions:
                check("error", partition.error.code, error_pb2.ERROR_CODE_UNSPECIFIED)
        elif event == "revoked":
            # Everything that was received is committed already.
            tell(release=subscribe_pb2.SubscribeRelease(revocation_id=response.revoked.revocation_id))
        elif event == "committed":
            check("offsets not committed", len(response.committed.failed), 0)
            if sum(map(len, found.values())) >= count:
                say.put(None)
        offsets = []
        for data in response.partitions:
            check("error", data.error.code, error_pb2.ERROR_CODE_UNSPECIFIED)
            for r in data.records.records:
                check("the offset was read before", r.offset in found[data.partition], False)
                found[data.partition][r.offset] = (r.key, r.value)
            offset = subscribe_pb2.SubscribeOffset(topic=topic, partition=data.partition, offset=data.next_offset)
            offsets.append(offset)
        if offsets:
            tell(commit=subscribe_pb2.SubscribeCommit(offsets=offsets))
            if sum(map(len, found.values())) < count:
                tell(credit=response.used_credit)


def record(key, value):
    # The client sets the time, so that it does not depend on the server's clock.
    return record_pb2.Record(key=key.encode(), value=value.encode(), timestamp_ms=time.time_ns() // 1_000_000)


def produce_entry(log, entry):
    """Produces one entry and returns what became of its only batch."""
    request = log_service_pb2.ProduceRequest(entries=[entry])
    return log.Produce(request, timeout=DEADLINE_SECONDS).results[0].batches[0]


def appended(batch):
    if batch.WhichOneof("outcome") != "appended":
        raise Mismatch(f"not appended: {batch.error.message}")
    return batch.appended


class Mismatch(Exception):
    """Something was not as it should be."""


def check(what, actual, expected):
    if actual != expected:
        raise Mismatch(f"{what}: {actual!r} instead of {expected!r}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: run HOST:PORT")
    try:
        main(sys.argv[1])
    except (Mismatch, grpc.RpcError) as error:
        sys.exit(f"failed: {error}")
