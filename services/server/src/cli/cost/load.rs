//! The load and the cluster as the command line describes them.

use clap::Args;
use tidelog_cost::limits::number;
use tidelog_cost::{Load, Metadata};
use tidelog_runtime::settings::{ByteSize, Span};

/// What a described load has beside its rate, and what no counter knows.
#[derive(Debug, Args)]
#[command(next_help_heading = "The load")]
pub(super) struct LoadArgs {
    /// How many times everything is read as it comes: one for each consumer group.
    #[arg(long, default_value_t = 3.0, value_name = "TIMES")]
    fan_out: f64,
    /// How much of old data is read each second.
    #[arg(long, default_value = "0B", value_name = "SIZE")]
    catch_up_rate: ByteSize,
    /// How long data is kept.
    #[arg(long, default_value = "7days", value_name = "DURATION")]
    retention: Span,
    /// How many partitions are written.
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    partitions: u32,
    /// How many bytes a record batch has.
    #[arg(long, default_value = "16KiB", value_name = "SIZE")]
    batch: ByteSize,
    /// Members of each consumer group, who commit their offsets [default: one a zone].
    #[arg(long, value_name = "COUNT")]
    consumers: Option<u32>,
    /// How many zones clients and brokers are in.
    #[arg(
        long,
        default_value_t = 3,
        value_name = "COUNT",
        help_heading = "The cluster"
    )]
    zones: u32,
    /// How many brokers there are [default: one a zone, or the processes that were counted].
    #[arg(long, value_name = "COUNT", help_heading = "The cluster")]
    brokers: Option<u32>,
    /// How many machines of the read tier there are; without them brokers cache for themselves.
    #[arg(
        long,
        default_value_t = 0,
        value_name = "COUNT",
        help_heading = "The cluster"
    )]
    readers: u32,
    /// How many brokers Kafka would need [default: as many, and at least one a zone].
    #[arg(long, value_name = "COUNT", help_heading = "The cluster")]
    kafka_brokers: Option<u32>,
    /// Metadata is on so many machines with FoundationDB [default: in the bucket].
    #[arg(long, value_name = "COUNT", help_heading = "The cluster")]
    fdb: Option<u32>,
    /// How many shards metadata has [default: 1, with FoundationDB 32].
    #[arg(long, value_name = "COUNT", help_heading = "The cluster")]
    shards: Option<u32>,
    /// `produce.linger` of the brokers.
    #[arg(
        long,
        default_value = "250ms",
        value_name = "DURATION",
        help_heading = "The cluster"
    )]
    linger: Span,
    /// `produce.segment_bytes` of the brokers.
    #[arg(
        long,
        default_value = "8MiB",
        value_name = "SIZE",
        help_heading = "The cluster"
    )]
    segment: ByteSize,
    /// `produce.flush_rate` of the brokers.
    #[arg(
        long,
        default_value_t = 4,
        value_name = "COUNT",
        help_heading = "The cluster"
    )]
    flush_rate: u32,
}

impl LoadArgs {
    /// How long data is kept.
    pub(super) fn retention_seconds(&self) -> f64 {
        self.retention.get().as_secs_f64()
    }

    /// The load that writes so much each second.
    pub(super) fn load(&self, write_rate: ByteSize) -> Load {
        let mut load = self.shape(self.brokers.unwrap_or(self.zones));
        load.write_rate = number(write_rate.get());
        load
    }

    /// Everything but the rate, for so many processes that serve.
    pub(super) fn shape(&self, processes: u32) -> Load {
        let brokers = self.brokers.unwrap_or(processes);
        let metadata = self.fdb.map_or(Metadata::Embedded, Metadata::FoundationDb);
        let shards = if self.fdb.is_some() { 32 } else { 1 };
        Load {
            write_rate: 0.0,
            fan_out: self.fan_out,
            catch_up_rate: number(self.catch_up_rate.get()),
            retention: self.retention_seconds(),
            partitions: self.partitions,
            batch_bytes: number(self.batch.get()),
            consumers: self.consumers.unwrap_or(self.zones),
            zones: self.zones,
            brokers,
            readers: self.readers,
            kafka_brokers: self.kafka_brokers.unwrap_or(brokers.max(self.zones)),
            shards: self.shards.unwrap_or(shards),
            linger: self.linger.get().as_secs_f64(),
            segment_bytes: number(self.segment.get()),
            flush_rate: f64::from(self.flush_rate),
            metadata,
        }
    }
}
