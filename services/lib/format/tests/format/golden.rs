//! The files in `tests/golden` were derived from the specification, not from this code. Each must be
//! read as the value it stands for, and that value must be written as the same bytes, for ever.

use tidelog_format::batch::{BatchBuf, BatchView, Compression, DecodeLimit, Record};
use tidelog_format::location::Location;
use tidelog_format::manifest::{Manifest, Receipt};
use tidelog_format::segment::{MergedReader, SegmentHeader, SegmentReader};
use tidelog_types::{Offset, Timestamp};

use super::fixtures::{self, golden};

fn records(batch: &BatchBuf) -> Vec<Record> {
    let records = batch
        .records(Offset::new(100), DecodeLimit::DEFAULT)
        .unwrap();
    records.collect::<Result<_, _>>().unwrap()
}

#[test]
fn batches_are_written_as_the_files_say() {
    assert_eq!(
        fixtures::plain(Compression::None).to_bytes(),
        golden("batch-plain")
    );
    assert_eq!(
        fixtures::transactional(40, 1).to_bytes(),
        golden("batch-transactional")
    );
}

#[test]
fn batches_of_every_codec_are_read_as_the_same_records() {
    let wanted = records(&fixtures::plain(Compression::None));
    assert_eq!(wanted.len(), 3);
    assert_eq!(wanted[0].key, None);
    assert_eq!(wanted[1].headers[0].key_text(), "h1");
    assert_eq!(wanted[1].headers[1].value, None);
    assert_eq!(wanted[2].value, None);
    assert_eq!(wanted[2].timestamp.as_millis(), fixtures::TIME - 3);
    assert_eq!(wanted[2].offset.get(), 102);
    for (file, codec) in [
        ("batch-plain", Compression::None),
        ("batch-gzip", Compression::Gzip),
        ("batch-snappy-xerial", Compression::Snappy),
        ("batch-snappy-raw", Compression::Snappy),
        ("batch-lz4", Compression::Lz4),
        ("batch-zstd", Compression::Zstd),
    ] {
        let batch = fixtures::parse(golden(file));
        assert_eq!(batch.compression(), codec, "{file}");
        assert_eq!(records(&batch), wanted, "{file}");
    }
}

#[test]
fn what_this_code_compresses_it_reads() {
    let wanted = records(&fixtures::plain(Compression::None));
    for codec in Compression::ALL {
        let batch = fixtures::parse(fixtures::plain(codec).to_bytes());
        assert_eq!(records(&batch), wanted, "{codec}");
    }
}

#[test]
fn manifests_are_the_files_of_their_shards() {
    let manifests = fixtures::sealed().manifests;
    assert_eq!(manifests.len(), 2);
    for (file, manifest) in ["manifest-shard-0", "manifest-shard-1"]
        .into_iter()
        .zip(manifests)
    {
        let bytes = golden(file);
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest, "{file}");
        assert_eq!(manifest.encode(), bytes, "{file}");
    }
}

#[test]
fn the_receipt_is_the_file() {
    let bytes = golden("receipt");
    assert_eq!(Receipt::decode(&bytes), Ok(fixtures::receipt()));
    assert_eq!(fixtures::receipt().encode(), bytes);
}

#[test]
fn locations_are_the_files() {
    for (file, location) in fixtures::locations() {
        let bytes = golden(file);
        assert_eq!(Location::decode(&bytes), Ok(location), "{file}");
        assert_eq!(location.encode(), bytes, "{file}");
    }
}

#[test]
fn a_marker_is_read_as_the_file() {
    let time = Timestamp::from_millis(fixtures::TIME);
    let batch = fixtures::marker().to_batch(Offset::new(1 << 40), time);
    assert_eq!(batch, golden("batch-marker"));
    let batch = fixtures::parse(batch);
    assert!(batch.header().attributes.is_control());
}

#[test]
fn the_segment_is_the_file_and_the_file_says_whose_each_byte_is() {
    let sealed = fixtures::sealed();
    let bytes = golden("segment");
    assert_eq!(sealed.chunks.concat(), bytes);
    assert_eq!(sealed.length, bytes.len() as u64);
    assert_eq!(sealed.crc32c, tidelog_crc32c::crc32c(&bytes));
    let reader =
        SegmentReader::open_named(bytes.clone(), fixtures::cluster(), fixtures::name()).unwrap();
    reader.check().unwrap();
    assert_eq!(reader.trailer().nonce, fixtures::identity().nonce);
    let SegmentHeader { cluster, .. } = reader.header();
    assert_eq!(*cluster, fixtures::cluster());
    let (plain, transactional) = (golden("batch-plain"), golden("batch-transactional"));
    let found: Vec<_> = (0..3)
        .map(|index| {
            let slice = &reader.footer().slices()[index as usize];
            let batches: Vec<BatchView> = reader.slice(index).unwrap();
            let bytes: Vec<_> = batches.iter().map(|view| view.bytes().clone()).collect();
            (
                slice.topic_id,
                slice.partition,
                slice.shard.get(),
                slice.record_count,
                bytes,
            )
        })
        .collect();
    let later = fixtures::transactional(41, 2).to_bytes();
    let wanted = [
        (
            fixtures::TOPIC_B,
            fixtures::partition(3, 0),
            1,
            3,
            vec![plain.clone()],
        ),
        (
            fixtures::TOPIC_B,
            fixtures::partition(3, 2),
            0,
            1,
            vec![transactional.clone()],
        ),
        (
            fixtures::TOPIC_A,
            fixtures::partition(7, 0),
            1,
            5,
            vec![plain, transactional, later],
        ),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn the_merged_segment_is_the_file_and_the_file_says_which_offsets_each_byte_has() {
    let sealed = fixtures::merged_writer()
        .seal(&fixtures::merged_identity())
        .unwrap();
    let bytes = golden("segment-merged");
    assert_eq!(sealed.chunks.concat(), bytes);
    let name = fixtures::merged_identity().name;
    let reader = MergedReader::open_named(bytes.clone(), fixtures::cluster(), name).unwrap();
    reader.check().unwrap();
    let footer = reader.footer();
    assert_eq!(footer.shard.get(), 300);
    assert_eq!(footer.committed_at.as_millis(), fixtures::TIME + 60_000);
    let found: Vec<_> = footer
        .slices()
        .map(|(topic, slice)| {
            let offsets = slice.offsets();
            (
                (topic.id, topic.name.as_str(), topic.partition_count),
                slice.partition,
                (offsets.base.get(), offsets.next.get()),
                slice.batch_count,
                slice.min_timestamp.as_millis() - fixtures::TIME,
                slice.max_timestamp().as_millis() - fixtures::TIME,
            )
        })
        .collect();
    let (b, a) = (
        (fixtures::TOPIC_B, "logs.b", 4),
        (fixtures::TOPIC_A, "audit", 1),
    );
    let (three, seven) = (fixtures::partition(3, 2), fixtures::partition(7, 0));
    let wanted = [
        (b, three, (1 << 33, (1 << 33) + 1), 1, 1000, 1000),
        (a, seven, (1000, (1 << 40) + 5), 3, 0, 1000),
    ];
    assert_eq!(found, wanted);
    let marker = reader.slice(1).unwrap().pop().unwrap();
    assert_eq!(*marker.bytes(), golden("batch-marker"));
}
