// kafkajs does all it can: administers, writes with compressions, reads, seeks, finds offsets by time, and writes in
// transactions of which one is aborted.

import kafkajs from "kafkajs";
import SnappyCodec from "kafkajs-snappy";
import lz4 from "lz4js";

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs;

// kafkajs brings gzip along; the others are given to it. There is no zstd in the Node that it runs on.
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});
const CODECS = [CompressionTypes.None, CompressionTypes.GZIP, CompressionTypes.Snappy, CompressionTypes.LZ4];

const PARTITIONS = 2;
// Of each codec, in each partition.
const RECORDS = 100;
const ALL = RECORDS * CODECS.length;
const FIRST_TIME = 1_700_000_000_000;
const DEADLINE_MS = 30_000;

const [address, topic] = process.argv.slice(2);
const kafka = new Kafka({ brokers: [address], clientId: "kafkajs", logLevel: logLevel.NOTHING });
const admin = kafka.admin();
const retries = { retries: 5 };

async function administer() {
  const configEntries = [{ name: "retention.ms", value: "-1" }];
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS, configEntries }] });
  check("the topic is listed", (await admin.listTopics()).includes(topic), true);
  const type = ConfigResourceTypes.TOPIC;
  const change = [{ name: "max.message.bytes", value: "900000" }];
  await admin.alterConfigs({ resources: [{ type, name: topic, configEntries: [...configEntries, ...change] }] });
  const { resources } = await admin.describeConfigs({ resources: [{ type, name: topic }], includeSynonyms: false });
  const entry = resources[0].configEntries.find(({ configName }) => configName === "max.message.bytes");
  check("the configuration", entry.configValue, "900000");
  await admin.createPartitions({ topicPartitions: [{ topic, count: PARTITIONS + 1 }] });
}

function record(number, partition) {
  return {
    key: `${number}`,
    value: `${"value ".repeat(20)}${number}`,
    headers: { number: `${number}` },
    timestamp: `${FIRST_TIME + number}`,
    partition,
  };
}

async function write() {
  const producer = kafka.producer({ idempotent: true, retry: retries });
  await producer.connect();
  for (const [at, compression] of CODECS.entries()) {
    for (let partition = 0; partition < PARTITIONS; partition += 1) {
      const numbers = Array.from({ length: RECORDS }, (_, index) => at * RECORDS + index);
      const messages = numbers.map((number) => record(number, partition));
      const [sent] = await producer.send({ topic, messages, compression, acks: -1 });
      check("the offset", Number(sent.baseOffset), at * RECORDS);
    }
  }
  await producer.disconnect();
}

// So many records of a partition from an offset on.
async function take(partition, offset, count, readUncommitted) {
  const groupId = `take-${partition}-${offset}-${readUncommitted}`;
  const consumer = kafka.consumer({ groupId, readUncommitted, maxWaitTimeInMs: 200 });
  const found = [];
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  const all = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${found.length} of ${count} records`)), DEADLINE_MS).unref();
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition: from, message }) => {
        // Those that came before the seek took hold are passed over.
        if (from === partition && Number(message.offset) >= offset && found.push(message) === count) {
          resolve();
        }
      },
    });
    consumer.seek({ topic, partition, offset: `${offset}` });
  });
  await all;
  await consumer.disconnect();
  return found.slice(0, count);
}

async function read() {
  const middle = ALL / 2 + 7;
  for (const [partition, first] of [[0, 0], [1, middle]]) {
    const found = await take(partition, first, ALL - first, true);
    for (const [index, message] of found.entries()) {
      const number = first + index;
      const expected = record(number);
      check("the offset", message.offset, `${number}`);
      check("the key", message.key.toString(), expected.key);
      check("the value", message.value.toString(), expected.value);
      check("the header", message.headers.number.toString(), expected.key);
      check("the time", message.timestamp, expected.timestamp);
    }
  }
  const bounds = (await admin.fetchTopicOffsets(topic)).find(({ partition }) => partition === 0);
  check("the bounds", `${bounds.low} ${bounds.high}`, `0 ${ALL}`);
  const times = await admin.fetchTopicOffsetsByTimestamp(topic, FIRST_TIME + middle);
  check("the offset of a time", times.find(({ partition }) => partition === 0).offset, `${middle}`);
}

async function transact() {
  const producer = kafka.producer({
    transactionalId: "kafkajs", idempotent: true, maxInFlightRequests: 1, retry: retries,
  });
  await producer.connect();
  const all = [];
  for (const [number, commits] of [true, false, true].entries()) {
    const transaction = await producer.transaction();
    const values = ["a", "b", "c"].map((letter) => `${number} ${letter}`);
    await transaction.send({ topic, messages: values.map((value) => ({ value, partition: PARTITIONS })) });
    all.push(...values);
    const partitions = [{ partition: 0, offset: `${10 + number}` }];
    await transaction.sendOffsets({ consumerGroupId: "pipe", topics: [{ topic, partitions }] });
    await (commits ? transaction.commit() : transaction.abort());
  }
  await producer.disconnect();
  const committed = all.filter((value) => !value.startsWith("1"));
  for (const [expected, readUncommitted] of [[committed, false], [all, true]]) {
    const found = await take(PARTITIONS, 0, expected.length, readUncommitted);
    check("the values", found.map(({ value }) => value.toString()).join(), expected.join());
  }
  const [offsets] = await admin.fetchOffsets({ groupId: "pipe", topics: [topic] });
  check("the committed offset", offsets.partitions.find(({ partition }) => partition === 0).offset, "12");
}

async function cut() {
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "42" }] });
  const bounds = (await admin.fetchTopicOffsets(topic)).find(({ partition }) => partition === 0);
  check("the bounds", `${bounds.low} ${bounds.high}`, `42 ${ALL}`);
  await admin.deleteTopics({ topics: [topic] });
  check("the topic is listed", (await admin.listTopics()).includes(topic), false);
}

function check(what, got, expected) {
  if (got !== expected) {
    throw new Error(`${what}: expected ${expected}, got ${got}`);
  }
}

async function main() {
  await admin.connect();
  for (const step of [administer, write, read, transact, cut]) {
    await step();
  }
  await admin.disconnect();
  console.log(`ok: ${PARTITIONS * ALL} records in ${topic}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
