"""What the scenarios of groups share: members in threads, and what a group is to do."""

import sys
import threading
import time
from collections import Counter

PARTITIONS = 4
RECORDS = 400
DEADLINE_SECONDS = 90


class Member(threading.Thread):
    """A member of a group: polls until it is told to leave. `client` polls, says what it has, and leaves."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client = client
        self.read = []
        self.has = set()
        self.failure = None
        self.leaves = threading.Event()
        self.start()

    def run(self):
        try:
            while not self.leaves.is_set():
                self.read.extend(self.client.poll())
                self.has = self.client.has()
            self.client.leave()
        except Exception as error:
            self.failure = error

    def leave(self):
        self.leaves.set()
        self.join(DEADLINE_SECONDS)
        check("the member has left", self.is_alive(), False)
        check("the failure of the member", self.failure, None)


def share_and_rebalance(join, produce, committed, partitions=PARTITIONS):
    """Two members share a topic, one leaves, the other takes over, and a third goes on where they were."""
    first = Member(join("first"))
    until("one member has all", lambda: sizes(first) == [partitions])
    second = Member(join("second"))
    half = partitions // 2
    until("both have a half", lambda: sizes(first, second) == [half, half] and not first.has & second.has)
    produce(0, RECORDS)
    until("both have read all", lambda: len(first.read) + len(second.read) >= RECORDS)
    check("the first has read something", len(first.read) > 0, True)
    check("the second has read something", len(second.read) > 0, True)
    second.leave()
    until("the first has all again", lambda: sizes(first) == [partitions])
    produce(RECORDS, RECORDS)
    until("the first has read the rest", lambda: len(first.read) + len(second.read) >= 2 * RECORDS)
    first.leave()
    once = Counter(first.read + second.read)
    check("each record was read once", (len(once), set(once.values())), (2 * RECORDS, {1}))
    check("the committed offsets", sum(committed().values()), 2 * RECORDS)
    produce(2 * RECORDS, 10)
    third = Member(join("third"))
    until("the third has read what is new", lambda: len(third.read) >= 10)
    third.leave()
    check("the third has read what is new only", len(third.read), 10)
    check("the committed offsets", sum(committed().values()), 2 * RECORDS + 10)


def sizes(*members):
    for member in members:
        check("the failure of a member", member.failure, None)
    return [len(member.has) for member in members]


def until(what, holds):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"not in time: {what}")
        time.sleep(0.05)


def check(what, got, expected):
    if got != expected:
        sys.exit(f"{what}: expected {expected!r}, got {got!r}")
