// kafkajs in a group: two members share a topic, one leaves, the other takes over, and a third goes on.

import { Kafka, logLevel } from "kafkajs";

const PARTITIONS = 4;
const RECORDS = 400;
const DEADLINE_MS = 90_000;
const GROUP = "readers";

const [address, topic] = process.argv.slice(2);
const kafka = new Kafka({ brokers: [address], clientId: "kafkajs", logLevel: logLevel.NOTHING });
const admin = kafka.admin();
const producer = kafka.producer({ idempotent: true });

async function join() {
  const consumer = kafka.consumer({
    groupId: GROUP,
    sessionTimeout: 10_000,
    heartbeatInterval: 500,
    maxWaitTimeInMs: 500,
  });
  const member = { consumer, has: 0, read: [] };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    member.has = (payload.memberAssignment[topic] ?? []).length;
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      member.read.push(`${partition}@${message.offset}`);
    },
  });
  return member;
}

async function leave(member) {
  // What was read is committed when it stops.
  await member.consumer.stop();
  await member.consumer.disconnect();
}

async function produce(first, count) {
  const messages = [];
  for (let number = first; number < first + count; number += 1) {
    messages.push({ partition: number % PARTITIONS, value: `value ${number}` });
  }
  await producer.send({ topic, messages });
}

async function committed() {
  const [offsets] = await admin.fetchOffsets({ groupId: GROUP, topics: [topic] });
  return offsets.partitions.reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0);
}

async function until(what, holds) {
  const end = Date.now() + DEADLINE_MS;
  while (!holds()) {
    if (Date.now() > end) {
      throw new Error(`not in time: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function check(what, got, expected) {
  if (got !== expected) {
    throw new Error(`${what}: expected ${expected}, got ${got}`);
  }
}

async function main() {
  await admin.connect();
  await producer.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }] });

  const first = await join();
  await until("one member has all", () => first.has === PARTITIONS);
  const second = await join();
  const half = PARTITIONS / 2;
  await until("both have a half", () => first.has === half && second.has === half);
  await produce(0, RECORDS);
  await until("all is read", () => first.read.length + second.read.length >= RECORDS);
  await leave(second);
  await until("the first has all again", () => first.has === PARTITIONS);
  await produce(RECORDS, RECORDS);
  await until("the rest is read", () => first.read.length + second.read.length >= 2 * RECORDS);
  await leave(first);
  const all = [...first.read, ...second.read];
  check("records", all.length, 2 * RECORDS);
  check("different records", new Set(all).size, 2 * RECORDS);
  check("the committed offsets", await committed(), 2 * RECORDS);

  await produce(2 * RECORDS, 10);
  const third = await join();
  await until("the third has read what is new", () => third.read.length >= 10);
  await leave(third);
  check("what the third has read", third.read.length, 10);
  const { groups } = await admin.listGroups();
  check("the groups", groups.map(({ groupId }) => groupId).join(), GROUP);
  await admin.deleteGroups([GROUP]);
  check("the groups", (await admin.listGroups()).groups.length, 0);
  await producer.disconnect();
  await admin.disconnect();
  console.log(`ok: ${2 * RECORDS + 10} records in ${topic}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
