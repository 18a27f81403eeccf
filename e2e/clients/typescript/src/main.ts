// A Tidelog client made from the proto files alone. It produces, reads back and compares.

import * as grpc from "@grpc/grpc-js";
import { deepStrictEqual as same, fail } from "node:assert";

import { type Api, connect, deadline, errorInfo, unary } from "./api.js";
import type { Appended__Output as Appended } from "../gen/tidelog/v1/Appended.js";
import type { BatchResult__Output as BatchResult } from "../gen/tidelog/v1/BatchResult.js";
import type { CreateTopicResponse__Output as CreateTopicResponse } from "../gen/tidelog/v1/CreateTopicResponse.js";
import type { FetchResponse__Output as FetchResponse } from "../gen/tidelog/v1/FetchResponse.js";
import type { InitProducerResponse__Output as InitProducerResponse } from "../gen/tidelog/v1/InitProducerResponse.js";
import type { ListOffsetsResponse__Output as ListOffsetsResponse } from "../gen/tidelog/v1/ListOffsetsResponse.js";
import type { ProduceEntry } from "../gen/tidelog/v1/ProduceEntry.js";
import type { ProduceResponse__Output as ProduceResponse } from "../gen/tidelog/v1/ProduceResponse.js";
import type { ProduceStreamResponse__Output as ProduceStreamResponse } from "../gen/tidelog/v1/ProduceStreamResponse.js";
import type { Record } from "../gen/tidelog/v1/Record.js";
import type { Record__Output } from "../gen/tidelog/v1/Record.js";
import type { TailResponse__Output as TailResponse } from "../gen/tidelog/v1/TailResponse.js";

const PARTITIONS = 4;

/** What each partition should hold, in order, as `key=value`. */
type Expected = string[][];

async function main(address: string, protoFolder: string): Promise<void> {
  const api = connect(address, protoFolder);
  const started = Date.now();
  const topic = `example-typescript-${started}-${process.pid}`;
  const expected: Expected = Array.from({ length: PARTITIONS }, () => []);

  await createTopic(api, topic);
  await produce(api, topic, expected);
  await produceStream(api, topic, expected);
  await produceIdempotently(api, topic, expected);
  await appendOnCondition(api, topic, expected);
  await readErrorInfo(api);
  await fetchOne(api, topic, expected);
  await tailAll(api, topic, expected);
  await listOffsetsByTime(api, topic, started);

  api.log.close();
  api.topics.close();
  console.log(`ok: ${expected.flat().length} records in ${topic}`);
}

async function createTopic({ topics }: Api, topic: string): Promise<void> {
  const request = { name: topic, partitionCount: PARTITIONS, config: { "retention.ms": "86400000" } };
  const response = await unary<CreateTopicResponse>((done) => topics.createTopic(request, deadline(), done));
  same(response.topic?.partitionCount, PARTITIONS, "partitions of the new topic");
}

/** One entry; the server picks each record's partition by its key and tells which ones it picked. */
async function produce(api: Api, topic: string, expected: Expected): Promise<void> {
  const records = Array.from({ length: 100 }, (_, n) => record(`key-${n % 10}`, `produced ${n}`));
  const batches = await produceEntry(api, { topic, records: { records } });
  for (const batch of batches) {
    appended(batch);
    const indexes = batch.recordIndexes.length > 0 ? batch.recordIndexes : records.keys();
    for (const index of indexes) {
      expected[batch.partition]!.push(text(records[index]!));
    }
  }
  same(expected.flat().length, records.length, "records answered");
}

/** Many entries under way at once; an answer names its entry by the correlation id. */
async function produceStream({ log }: Api, topic: string, expected: Expected): Promise<void> {
  const stream = log.produceStream(deadline());
  for (let n = 0; n < 200; n++) {
    const partition = n % PARTITIONS;
    const one = record(`stream-${partition}`, `streamed ${n}`);
    expected[partition]!.push(text(one));
    stream.write({ entries: [{ correlationId: n, topic, partition, records: { records: [one] } }] });
  }
  stream.end();

  const answered = new Set<string>();
  for await (const response of stream as AsyncIterable<ProduceStreamResponse>) {
    for (const result of response.results) {
      appended(result.batches[0]);
      answered.add(result.correlationId);
    }
  }
  same(answered.size, 200, "entries answered");
}

/** A producer that got no answer sends the same again: it is in the log once. */
async function produceIdempotently(api: Api, topic: string, expected: Expected): Promise<void> {
  const { producerId, producerEpoch } = await unary<InitProducerResponse>((done) =>
    api.log.initProducer({}, deadline(), done),
  );
  const one = record("once", "only once");
  const producer = { producerId, producerEpoch, baseSequence: 0 };
  const entry = { topic, partition: 0, records: { records: [one] }, producer };
  const first = appended((await produceEntry(api, entry))[0]);
  const again = appended((await produceEntry(api, entry))[0]);
  same([first.duplicate, again.duplicate], [false, true], "only the second one is a duplicate");
  same(again.baseOffset, first.baseOffset, "its offset is that of the first");
  expected[0]!.push(text(one));
}

/** Append only if nobody else has appended since: the base of locks, counters and state machines. */
async function appendOnCondition(api: Api, topic: string, expected: Expected): Promise<void> {
  const one = record("condition", "met");
  const entry = { topic, partition: 1, records: { records: [one] } };
  const [refused] = await produceEntry(api, { ...entry, expectedNextOffset: 0 });
  same(refused?.error?.code, "ERROR_CODE_OFFSET_MISMATCH", "error of a wrong offset");
  const actual = refused?.error?.metadata["next_offset"];
  same(actual, String(expected[1]!.length), "actual next offset");

  const [taken] = await produceEntry(api, { ...entry, expectedNextOffset: actual });
  same(appended(taken).baseOffset, actual, "offset");
  expected[1]!.push(text(one));
}

/** A call that fails as a whole says why in `google.rpc.ErrorInfo`, which programs can rely on. */
async function readErrorInfo({ topics }: Api): Promise<void> {
  try {
    await unary((done) => topics.getTopic({ name: "no-such-topic" }, deadline(), done));
  } catch (error) {
    same((error as grpc.ServiceError).code, grpc.status.NOT_FOUND, "status");
    const info = errorInfo(error as grpc.ServiceError);
    same([info?.domain, info?.reason], ["tidelog.dev", "UNKNOWN_TOPIC"], "domain and reason");
    return;
  }
  fail("a topic that nobody created was found");
}

/** Read one partition from its beginning, answer by answer. */
async function fetchOne({ log }: Api, topic: string, expected: Expected): Promise<void> {
  const found: string[] = [];
  let [offset, end] = ["0", ""];
  while (offset !== end) {
    const request = { partitions: [{ topic, partition: 0, offset }] };
    const response = await unary<FetchResponse>((done) => log.fetch(request, deadline(), done));
    const data = response.partitions[0]!;
    same(data.error, null, "error");
    found.push(...(data.records?.records ?? []).map(text));
    [offset, end] = [data.nextOffset, data.highWatermark];
  }
  same(found, expected[0], "partition 0 as fetched");
}

/** Read all partitions as a stream, here only until the end of what is there now. */
async function tailAll({ log }: Api, topic: string, expected: Expected): Promise<void> {
  const found: Expected = expected.map(() => []);
  const request = { topic, position: "OFFSET_POSITION_EARLIEST", untilEnd: true } as const;
  for await (const response of log.tail(request, deadline()) as AsyncIterable<TailResponse>) {
    for (const data of response.partitions) {
      same(data.error, null, "error");
      const into = found[data.partition]!;
      for (const one of data.records?.records ?? []) {
        same(one.offset, String(into.length), "offset");
        into.push(text(one));
      }
    }
  }
  same(found, expected, "all partitions as tailed");
}

/** The first record at or after a time: offset 0 for the time at which we began, none for the future. */
async function listOffsetsByTime({ log }: Api, topic: string, started: number): Promise<void> {
  const times = [started, started + 3_600_000];
  const request = { partitions: times.map((timestampMs) => ({ topic, partition: 0, timestampMs })) };
  const response = await unary<ListOffsetsResponse>((done) => log.listOffsets(request, deadline(), done));
  same(response.results.map((result) => result.offset), ["0", undefined], "offsets by time");
}

function record(key: string, value: string): Record {
  // The client sets the time, so that it does not depend on the server's clock.
  return { key: Buffer.from(key), value: Buffer.from(value), timestampMs: Date.now() };
}

function text(one: Record | Record__Output): string {
  return `${one.key}=${one.value}`;
}

async function produceEntry({ log }: Api, entry: ProduceEntry): Promise<BatchResult[]> {
  const request = { entries: [entry] };
  const response = await unary<ProduceResponse>((done) => log.produce(request, deadline(), done));
  return response.results[0]!.batches;
}

function appended(batch: BatchResult | undefined): Appended {
  return batch?.appended ?? fail(`not appended: ${batch?.error?.message}`);
}

const [address, ...rest] = process.argv.slice(2);
if (address === undefined || rest.length > 0) {
  console.error("usage: run HOST:PORT");
  process.exit(2);
}
main(address, process.env["TIDELOG_PROTO"] ?? "proto").catch((error: unknown) => {
  console.error("failed:", error instanceof Error ? error.message : error);
  process.exit(1);
});
