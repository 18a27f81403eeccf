//! The rows of one fixed history, byte for byte as `docs/format/keyspace.md` lays them out. What was
//! written once must be readable for ever, so the files here change only with a new version of a row.

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use tidelog_metadata::keyspace::{
    EmptiedRow, KeyKind, Keyspace, MemberRow, MergedRow, PartitionRow, RestoreRow, RestoreState,
};
use tidelog_metadata_api::{
    BatchCondition, Catalogue as _, CommittingMember, Decision, GroupDescription, Groups as _,
    GroupsError, JanitorWork as _, KafkaAddress, Log as _, Member, MemberState, NewTopic,
    TopicSelector, TransactionState,
};
use tidelog_store::Store as _;
use tidelog_store::memory::{MemoryOptions, MemoryStore};
use tidelog_types::{
    ClusterGeneration, GroupNumber, Incarnation, MemberId, Offset, Role, RoleSet, SegmentSequence,
    Timestamp, TopicName, TopicNumber,
};

use crate::manifests::{
    WRITER, accepted, at_epoch, duplicate, expect_next, expect_token, one, only, plain, segment,
    sent, token,
};
use crate::transactions;
use crate::world::{Process, Run, SHARD, World, partition, settings};

/// What this version of the program writes.
const ROWS: &str = "rows.txt";
/// What was written before sizes were counted: pages of version 1, partitions of version 3.
const ROWS_WITHOUT_SIZES: &str = "rows-3.txt";
/// What was written before there were transactions: tails, producers and groups of version 1,
/// partitions of version 2.
const ROWS_WITHOUT_TRANSACTIONS: &str = "rows-2.txt";
/// What was written before there were pages: partitions and checkpoints of version 1.
const ROWS_WITHOUT_PAGES: &str = "rows-1.txt";

fn file(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::fs::read_to_string(folder.join(name)).expect("the file is part of the crate")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Bytes {
    let digits = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("two hex digits")
    };
    digits.map(byte).collect::<Vec<_>>().into()
}

/// One row a line: its kind, its key, its value; `-` for an empty one.
fn text_of(rows: &[(Bytes, Bytes)]) -> String {
    let mut text = String::new();
    for (key, value) in rows {
        let kind = KeyKind::ALL.iter().find(|kind| **kind as u8 == key[4]);
        let kind = kind.expect("every key has a known kind");
        let value = Some(hex(value)).filter(|value| !value.is_empty());
        let value = value.unwrap_or_else(|| "-".to_owned());
        let _ = writeln!(text, "{kind:?} {} {value}", hex(key));
    }
    text
}

fn rows_of(text: &str) -> Vec<(Bytes, Bytes)> {
    let row = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let mut next = || words.next().expect("three words");
        let (key, value) = (from_hex(next()), next());
        let value = if value == "-" {
            Bytes::new()
        } else {
            from_hex(value)
        };
        (key, value)
    };
    text.lines().map(row).collect()
}

/// A segment that nobody needs, and one that is needed less.
async fn refuse_and_delete(process: &Process) {
    let refused = segment(299)
        .slice(partition(1), &[plain(1)])
        .condition(0, 0, expect_next(99));
    process.send_until_answered(&refused.done()).await;
    let deleted = process.delete_records(partition(1), Offset::new(6)).await;
    deleted.expect("the owner");
}

/// A process that comes before the others, so that its writer has ended.
async fn begin_and_end(world: &World) {
    let ended = world.open().await;
    let writer = ended.register_writer().await.expect("the store answers");
    for sequence in [4, 9] {
        let commit = segment(sequence).writer(writer);
        let commit = commit.slice(partition(2), &[plain(2)]).done();
        ended.send_until_answered(&commit).await;
    }
}

/// A history with every kind of row, every outcome and every command.
async fn history() -> World {
    let world = World::fixed(settings(4));
    begin_and_end(&world).await;
    let process = world.open().await;
    let config = [("retention.ms".to_owned(), "5000".to_owned())].into();
    for name in ["gone", "kept"] {
        let topic = NewTopic {
            name: TopicName::new(name).expect("a good name"),
            partitions: 2,
            config: if name == "kept" {
                [].into()
            } else {
                Clone::clone(&config)
            },
            validate_only: false,
        };
        process.create_topic(topic).await.expect("new");
    }
    let selector = |name| TopicSelector::Name(TopicName::new(name).expect("a good name"));
    process
        .add_partitions(&selector("kept"), 5)
        .await
        .expect("more");
    process.delete_topic(&selector("gone")).await.expect("live");
    process.register_writer().await.expect("the store answers");
    process.init_producer().await.expect("the store answers");
    process
        .raise_floor(WRITER, SegmentSequence::new(2))
        .await
        .expect("durable");

    let set = BatchCondition {
        set_fencing_token: Some(token("first")),
        ..expect_next(1)
    };
    let first = segment(2)
        .slice(
            partition(0),
            &[sent(3, 0, 1), sent(3, 1, 2), at_epoch(3, 0, 9, 1)],
        )
        .slice(partition(1), &[plain(5), at_epoch(4, 2, 0, 7), plain(1)])
        .condition(0, 1, set)
        .condition(1, 2, expect_next(99));
    process.send_until_answered(&first.done()).await;
    let second = segment(300)
        .slice(
            partition(0),
            &[sent(3, 1, 2), plain(1), at_epoch(3, 1, 0, 1)],
        )
        .slice(partition(1), &[at_epoch(4, 1, 7, 1), sent(5, 5, 1)])
        .condition(0, 1, expect_token("second"));
    process.send_until_answered(&second.done()).await;
    refuse_and_delete(&process).await;
    let renamed = process
        .set_fencing_token(partition(1), None, token("second"))
        .await;
    renamed.expect("the owner");
    for sequence in 301..304 {
        world.clock.jump_wall(1_000);
        let batch = at_epoch(3, 1, i32::try_from(sequence - 300).expect("small"), 1);
        process
            .send_until_answered(&one(sequence, partition(0), batch))
            .await;
    }
    process.latest(partition(0)).await.expect("the owner");
    transactions::kept(&process).await;
    coordinated(&world, &process).await;
    put_others(&world).await;
    world
}

async fn put_others(world: &World) {
    put_member(world).await;
    put_restore(world).await;
}

/// What coordinators store; and that of a writer that has ended there may be orphans.
async fn coordinated(world: &World, process: &Process) {
    groups(process).await;
    transactional_ids(world, process).await;
    process.deletions().await.expect("the store answers");
}

/// A group of each protocol with a member and an offset, and one that has only offsets: of a transaction that has
/// committed, too, and of one that is open.
async fn groups(process: &Process) {
    use crate::groups::transactions::{commit_in, end, transaction};
    use crate::groups::{alone, commit, joins, member};
    let groups = &process.service;
    let joined = alone(groups, "classic").await;
    let done = commit(groups, "classic", member(&joined), partition(1), 7).await;
    assert_eq!(done, Ok(()));
    let heard = groups.consumer_heartbeat(joins("consumer", "a")).await;
    let as_member = CommittingMember {
        member_id: "a".to_owned(),
        instance: None,
        epoch: heard.expect("it joins").epoch,
    };
    let done = commit(groups, "consumer", as_member, partition(0), 300).await;
    assert_eq!(done, Ok(()));
    let nobody = CommittingMember::nobody();
    let done = commit(groups, "simple", nobody, partition(0), 1).await;
    assert_eq!(done, Ok(()));
    let nobody = || ("simple", CommittingMember::nobody());
    for (number, index) in [(1, 1), (2, 0)] {
        let open = transaction(7, 3, number);
        let done = commit_in(groups, nobody(), open, partition(index), 9).await;
        assert_eq!(done, Ok(()));
        if number == 1 {
            let ended = end(groups, "simple", open, Decision::Commit).await;
            assert_eq!(ended, Ok(()));
        }
    }
}

/// An id in each phase.
async fn transactional_ids(world: &World, process: &Process) {
    use crate::transactional_ids::{Client, ToldLog, at, group};
    let service = &process.service;
    let client = |text| Client::new(service, text);
    let empty = client("empty").init(None).await;
    empty.expect("nobody has the id");
    let told = ToldLog::default();
    told.is_reached_by(&world.reach);
    for name in ["ongoing", "ended", "prepared"] {
        let one = client(name).init(None).await.expect("nobody has the id");
        let more = [at(0), at(3), group("simple")];
        let number = client(name).add(one, &more).await;
        assert_eq!(number, Ok(1));
        if name != "ongoing" {
            told.hold(name == "prepared");
            client(name).commit(one).await.expect("it is decided");
            // Nothing else in this history may come with time.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

/// A member of another process, which has the shard no more.
async fn put_member(world: &World) {
    let member = Member {
        id: MemberId::from_bytes([0xab; 16]),
        name: "host-a".to_owned(),
        roles: RoleSet::default().with(Role::Metadata).with(Role::Broker),
        zone: "z1".to_owned(),
        version: "0.1.0".to_owned(),
        internal_address: "host-a:7071".to_owned(),
        grpc_address: "host-a:7070".to_owned(),
        kafka_addresses: vec![KafkaAddress {
            listener: "kafka".to_owned(),
            host: "host-a".to_owned(),
            port: 9092,
        }],
        incarnation: Some(Incarnation::new(2)),
        merger: Some(Incarnation::new(259)),
        state: MemberState::Draining,
        joined_at: Timestamp::from_millis(1_000_000),
    };
    let row = MemberRow {
        via: member.id,
        session: 9,
        beat: 300,
        member,
    };
    let mut transaction = world.store.begin().await.expect("the store answers");
    let key = Keyspace::default().member(row.member.id);
    transaction.put(key, row.encode());
    transaction.commit().await.expect("no conflict");
}

/// A restore that nobody has accepted yet.
async fn put_restore(world: &World) {
    let row = RestoreRow {
        state: RestoreState::Pending,
        nonce: [0xcd; 16],
        step: 7,
        generation: ClusterGeneration::new(1),
        first_incarnation: Incarnation::new(1),
        begun_at: Timestamp::from_millis(1_000_000),
        backup: "nightly".to_owned(),
    };
    let mut transaction = world.store.begin().await.expect("the store answers");
    transaction.put(Keyspace::default().restore(), row.encode());
    let (group, commit_time) = (GroupNumber::new(1), Timestamp::from_millis(1_000_000));
    let merged = MergedRow { group, commit_time };
    transaction.put(Keyspace::default().merged(SHARD), merged.encode());
    let key = Keyspace::default().emptied(TopicNumber::new(9), SHARD);
    transaction.put(key, EmptiedRow.encode());
    crate::inline::put_some_row(transaction.as_mut());
    crate::compaction::put_some_row(transaction.as_mut());
    transaction.commit().await.expect("no conflict");
}

#[tokio::test(start_paused = true)]
async fn rows_are_written_as_the_file_says() {
    let world = history().await;
    let rows = world.store.memory.dump();
    for kind in KeyKind::ALL {
        assert!(
            !world.store.rows(kind).is_empty(),
            "no row of kind {kind:?}"
        );
    }
    let text = text_of(&rows);
    assert_eq!(rows_of(&text), rows);
    let wanted = file(ROWS);
    for (line, (got, wanted)) in text.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(got, wanted, "line {}", line + 1);
    }
    assert_eq!(text.lines().count(), wanted.lines().count());
}

#[tokio::test(start_paused = true)]
async fn a_store_with_the_rows_of_the_file_serves_them() {
    let store = MemoryStore::with_rows(MemoryOptions::default(), rows_of(&file(ROWS)));
    let process = World::on(store).open().await;
    assert_eq!(process.log_of(partition(2)).await.len(), 3);
    serves_the_history(&process).await;
    transactions::serves_what_was_kept(&process).await;
    serves_the_groups(&process).await;
    serves_the_transactions_of_groups(&process).await;
    serves_the_ids(&process).await;
    assert_eq!(process.register_writer().await.expect("ok").get(), 3);
}

/// Also after the first checkpoint has written some of them anew.
#[tokio::test(start_paused = true)]
async fn a_store_without_sizes_is_served_and_counts_from_then_on() {
    let rows = rows_of(&file(ROWS_WITHOUT_SIZES));
    let store = MemoryStore::with_rows(MemoryOptions::default(), rows);
    let world = World::on(store);
    let process = world.open().await;
    assert_eq!(process.log_of(partition(2)).await.len(), 3);
    serves_the_history(&process).await;
    transactions::serves_what_was_kept(&process).await;
    serves_the_groups(&process).await;
    serves_the_transactions_of_groups(&process).await;
    serves_the_ids(&process).await;
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    process.latest(partition(0)).await.expect("the owner");
    let key = Keyspace::default().partition(partition(1));
    let rows = world.store.rows(KeyKind::Partition);
    let row = rows.into_iter().find(|row| row.0 == key).expect("a row").1;
    let row = PartitionRow::decode(row).expect("a good row");
    assert_eq!(row.total, 71, "the batch that was sent just now");
    let process = world.open().await;
    assert_eq!(
        process.bounds_of(partition(1)).await.high_watermark.get(),
        13
    );
}

/// Also after the first checkpoint has written them anew, and with transactions from then on.
#[tokio::test(start_paused = true)]
async fn a_store_without_transactions_is_served_and_takes_them() {
    let rows = rows_of(&file(ROWS_WITHOUT_TRANSACTIONS));
    let store = MemoryStore::with_rows(MemoryOptions::default(), rows);
    let world = World::on(store);
    let process = world.open().await;
    assert_eq!(process.log_of(partition(2)).await.len(), 2);
    assert_eq!(process.all_bounds(3).await, (0, 0, 0, 0));
    serves_the_history(&process).await;
    serves_the_groups(&process).await;
    transactions::kept(&process).await;
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    process.latest(partition(0)).await.expect("the owner");
    transactions::serves_what_was_kept(&world.open().await).await;
}

/// Also after the first checkpoint has written pages for all of it, and another process goes on.
#[tokio::test(start_paused = true)]
async fn a_store_without_pages_is_served_and_gets_them() {
    let rows = rows_of(&file(ROWS_WITHOUT_PAGES));
    let store = MemoryStore::with_rows(MemoryOptions::default(), rows);
    let world = World::on(store);
    let process = world.open().await;
    let before = [
        process.log_of(partition(0)).await,
        process.log_of(partition(1)).await,
    ];
    assert!(world.store.rows(KeyKind::Page).is_empty());
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    process.latest(partition(0)).await.expect("the owner");
    assert_eq!(world.store.rows(KeyKind::Page).len(), 2);
    let process = world.open().await;
    let after = [
        process.log_of(partition(0)).await,
        process.log_of(partition(1)).await,
    ];
    assert_eq!(after, before);
    assert!(process.metric("history_reads_total") > 0);
    serves_the_history(&process).await;
}

async fn serves_the_groups(process: &Process) {
    use crate::groups::{fetch, name};
    let groups = &process.service;
    for (group, index, at) in [("classic", 1, 7), ("consumer", 0, 300), ("simple", 0, 1)] {
        let found = fetch(groups, group, partition(index)).await;
        assert_eq!(found, Ok(Some(at)), "{group}");
    }
    let names = [name("classic"), name("consumer")];
    for shown in groups.describe_groups(&names).await {
        let members = match shown.expect("it is there") {
            GroupDescription::Classic(group) => group.members.len(),
            GroupDescription::Consumer(group) => group.members.len(),
        };
        assert_eq!(members, 1);
    }
}

async fn serves_the_transactions_of_groups(process: &Process) {
    use crate::groups::transactions::{commit_in, end, stable, transaction};
    let groups = &process.service;
    let nobody = || ("simple", CommittingMember::nobody());
    let at = partition(0);
    let late = commit_in(groups, nobody(), transaction(7, 3, 1), at, 5).await;
    assert_eq!(late, Err(GroupsError::TransactionEnded));
    assert_eq!(stable(groups, "simple", partition(1)).await, Ok(Some(9)));
    let unstable = Err(GroupsError::UnstableOffset);
    assert_eq!(stable(groups, "simple", at).await, unstable);
    let done = end(groups, "simple", transaction(7, 3, 2), Decision::Commit).await;
    assert_eq!(done, Ok(()));
    assert_eq!(stable(groups, "simple", at).await, Ok(Some(9)));
}

async fn serves_the_ids(process: &Process) {
    use TransactionState::{CompleteCommit, Empty, Ongoing, PrepareCommit};

    use crate::transactional_ids::{Client, at, group, producer};
    for (number, name, state) in [
        (2, "empty", Empty),
        (3, "ongoing", Ongoing),
        (4, "ended", CompleteCommit),
        (5, "prepared", PrepareCommit),
    ] {
        let client = Client::new(&process.service, name);
        assert_eq!(client.state().await, Ok(state), "{name}");
        let one = producer(number, 0);
        match state {
            Empty => assert_eq!(client.add(one, &[at(1)]).await, Ok(1)),
            Ongoing => {
                let missing = client.missing(one, &[at(0), at(1), group("simple")]).await;
                assert_eq!(missing, Ok(vec![at(1)]));
            }
            _ => assert_eq!(client.commit(one).await, Ok(producer(number, 1))),
        }
    }
}

async fn serves_the_history(process: &Process) {
    let run = |base, next, sequence, position, length| Run {
        base,
        next,
        sequence,
        position,
        length,
    };
    let expected = [
        run(0, 3, 2, 64, 143),
        run(3, 4, 300, 207, 71),
        run(4, 5, 301, 64, 71),
        run(5, 6, 302, 64, 71),
        run(6, 7, 303, 64, 71),
    ];
    assert_eq!(process.log_of(partition(0)).await, expected);
    let bounds = process.bounds_of(partition(1)).await;
    assert_eq!(
        (bounds.log_start.get(), bounds.high_watermark.get()),
        (6, 12)
    );
    let commit = segment(400)
        .slice(partition(0), &[at_epoch(3, 1, 3, 1), at_epoch(3, 1, 4, 1)])
        .slice(partition(1), &[plain(1)])
        .condition(1, 0, expect_token("second"))
        .done();
    let answer = process.send(commit).await.expect("the owner");
    assert_eq!(answer.outcomes, [duplicate(6), accepted(7), accepted(12)]);
    let retried = process.send(one(302, partition(0), plain(1))).await;
    assert_eq!(only(&retried.expect("a receipt")), accepted(5));
    let kept = TopicSelector::Name(TopicName::new("kept").expect("a good name"));
    let topic = process.topic(&kept).await.expect("it is there");
    assert_eq!(topic.partition_count(), 5);
    let gone = TopicSelector::Name(TopicName::new("gone").expect("a good name"));
    let topic = process
        .undelete_topic(&gone)
        .await
        .expect("it was deleted softly");
    assert_eq!(topic.config.as_set().len(), 1);
}
