//! A load as someone describes it.

use crate::limits::{FACTOR_MAX, OutOfRange, RATE_MAX, SECONDS_MAX, within};

/// Where metadata is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// In the bucket.
    Embedded,
    /// On FoundationDB, on so many machines.
    FoundationDb(u32),
}

/// What is written, kept and read, and how the cluster is set up. All that lies between machines is counted
/// as it is on the wire: compressed, if clients compress.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Bytes written each second.
    pub write_rate: f64,
    /// How many times everything is read as it comes.
    pub fan_out: f64,
    /// Bytes of old data read each second.
    pub catch_up_rate: f64,
    /// How long data is kept, in seconds.
    pub retention: f64,
    /// How many partitions are written.
    pub partitions: u32,
    /// Bytes of a record batch.
    pub batch_bytes: f64,
    /// Members of a consumer group.
    pub consumers: u32,
    /// Zones that clients and brokers are in.
    pub zones: u32,
    /// Brokers.
    pub brokers: u32,
    /// Machines of the caching read tier; without them brokers cache for themselves.
    pub readers: u32,
    /// Machines of the peer.
    pub kafka_brokers: u32,
    /// Shards of metadata.
    pub shards: u32,
    /// How long a segment may wait for more, in seconds.
    pub linger: f64,
    /// Bytes at which a segment closes.
    pub segment_bytes: f64,
    /// How often a second a broker may close a segment early.
    pub flush_rate: f64,
    /// Where metadata is kept.
    pub metadata: Metadata,
}

/// Most machines of a kind.
const MACHINES_MAX: f64 = 100_000.0;
/// Most partitions and shards.
const PARTITIONS_MAX: f64 = 100_000_000.0;
/// A record batch without records.
const BATCH_BYTES_MIN: f64 = 61.0;
/// Largest record batch and segment.
const OBJECT_BYTES_MAX: f64 = 67_108_864.0;
/// Longest linger in seconds, and most early closes a second.
const LINGER_MAX: f64 = 3_600.0;
const FLUSHES_MAX: f64 = 1_000_000.0;

impl Load {
    /// Refuses what no load can be.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let fdb = match self.metadata {
            Metadata::Embedded => 1,
            Metadata::FoundationDb(machines) => machines,
        };
        for (what, value, min, max) in [
            ("write rate", self.write_rate, 0.0, RATE_MAX),
            ("fan-out", self.fan_out, 0.0, FACTOR_MAX),
            ("catch-up rate", self.catch_up_rate, 0.0, RATE_MAX),
            ("retention", self.retention, 0.0, SECONDS_MAX),
            ("partitions", self.partitions.into(), 1.0, PARTITIONS_MAX),
            (
                "batch size",
                self.batch_bytes,
                BATCH_BYTES_MIN,
                OBJECT_BYTES_MAX,
            ),
            ("consumers", self.consumers.into(), 0.0, PARTITIONS_MAX),
            ("zones", self.zones.into(), 1.0, 100.0),
            ("brokers", self.brokers.into(), 1.0, MACHINES_MAX),
            ("readers", self.readers.into(), 0.0, MACHINES_MAX),
            (
                "kafka brokers",
                self.kafka_brokers.into(),
                1.0,
                MACHINES_MAX,
            ),
            ("shards", self.shards.into(), 1.0, PARTITIONS_MAX),
            ("linger", self.linger, 0.0, LINGER_MAX),
            ("segment size", self.segment_bytes, 1024.0, OBJECT_BYTES_MAX),
            ("flush rate", self.flush_rate, 0.0, FLUSHES_MAX),
            ("machines of FoundationDB", fdb.into(), 1.0, MACHINES_MAX),
        ] {
            within(what, value, min, max)?;
        }
        Ok(())
    }

    /// Record batches each second.
    pub(crate) fn batch_rate(&self) -> f64 {
        self.write_rate / self.batch_bytes
    }

    /// Which part of the bytes between machines that do not choose their zone goes to another zone.
    pub(crate) fn other_zones(&self) -> f64 {
        let zones = f64::from(self.zones);
        (zones - 1.0) / zones
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A middling load: 50 MiB/s, read three times, kept for a week.
    pub(crate) fn load() -> Load {
        Load {
            write_rate: 50.0 * 1_048_576.0,
            fan_out: 3.0,
            catch_up_rate: 10.0 * 1_048_576.0,
            retention: 7.0 * 86_400.0,
            partitions: 300,
            batch_bytes: 16_384.0,
            consumers: 6,
            zones: 3,
            brokers: 3,
            readers: 0,
            kafka_brokers: 6,
            shards: 1,
            linger: 0.25,
            segment_bytes: 8_388_608.0,
            flush_rate: 4.0,
            metadata: Metadata::Embedded,
        }
    }

    #[test]
    fn a_load_of_numbers_that_cannot_be_is_refused() {
        assert_eq!(load().check(), Ok(()));
        let changes: [fn(&mut Load, f64); 7] = [
            |load, x| load.write_rate = x,
            |load, x| load.fan_out = x,
            |load, x| load.catch_up_rate = x,
            |load, x| load.retention = x,
            |load, x| load.batch_bytes = x,
            |load, x| load.linger = x,
            |load, x| load.segment_bytes = x,
        ];
        for change in changes {
            for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e18] {
                let mut load = load();
                change(&mut load, wrong);
                assert!(load.check().is_err(), "{load:?}");
            }
        }
        for change in [
            |load: &mut Load| load.zones = 0,
            |load: &mut Load| load.brokers = 0,
            |load: &mut Load| load.kafka_brokers = 0,
            |load: &mut Load| load.shards = 0,
            |load: &mut Load| load.partitions = 0,
            |load: &mut Load| load.metadata = Metadata::FoundationDb(0),
        ] {
            let mut load = load();
            change(&mut load);
            assert!(load.check().is_err(), "{load:?}");
        }
    }
}
