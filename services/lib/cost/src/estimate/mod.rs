//! Both bills, and what they stand on.

use serde::Serialize;

use crate::bill::Bill;
use crate::counters::Counters;
use crate::kafka::{self, Carried};
use crate::limits::{OutOfRange, RATE_MAX, SECONDS_MAX, within};
use crate::load::Load;
use crate::model;
use crate::prices::PriceList;
use crate::uses::{GIB, Kind, MIB, Use};

/// Most bytes that lie in a bucket: more than any has.
const STORED_MAX: f64 = 1e21;

/// How much lies in the bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Storage {
    /// What is written in so many seconds.
    Retention(f64),
    /// So many bytes.
    Bytes(f64),
}

/// What a month costs, here and on the peer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The list of prices.
    pub prices: String,
    /// When they were read.
    pub date: String,
    /// Where they hold.
    pub region: String,
    /// What they are in.
    pub currency: String,
    /// The pages that they stand on.
    pub sources: Vec<String>,
    /// What is paid for, in words.
    pub load: String,
    /// Bytes written in a second.
    pub written_bytes_per_second: f64,
    /// Bytes read in a second.
    pub read_bytes_per_second: f64,
    /// Bytes of a record batch on average.
    pub batch_bytes: f64,
    /// Our bill.
    pub tidelog: Bill,
    /// The bill of the same load on replicas.
    pub kafka: Bill,
}

impl Estimate {
    /// Of a load that someone describes.
    pub fn of_load(load: &Load, prices: &PriceList) -> Result<Self, OutOfRange> {
        load.check()?;
        let carried = Carried {
            write_rate: load.write_rate,
            tail_rate: load.write_rate * load.fan_out,
            catch_up_rate: load.catch_up_rate,
            kept_bytes: load.write_rate * load.retention,
            zones: load.zones,
            brokers: load.kafka_brokers,
        };
        let words = format!(
            "{:.1} MiB/s written in batches of {:.1} KiB, read {} times as it comes, {:.1} MiB/s of old data \
             read, kept for {:.1} days",
            load.write_rate / MIB,
            load.batch_bytes / 1024.0,
            load.fan_out,
            load.catch_up_rate / MIB,
            load.retention / 86_400.0
        );
        let uses = model::uses(load, prices);
        Ok(Self::new(
            (words, load.batch_bytes),
            &uses,
            &carried,
            prices,
        ))
    }

    /// Of what was counted in a second; `how` says where. `shape` says what no counter knows: zones and
    /// machines.
    pub fn of_counters(
        rates: &Counters,
        how: &str,
        storage: Storage,
        shape: &Load,
        prices: &PriceList,
    ) -> Result<Self, OutOfRange> {
        let write_rate = within("write rate", rates.appended(), 0.0, RATE_MAX)?;
        let kept_bytes = match storage {
            Storage::Retention(time) => write_rate * within("retention", time, 0.0, SECONDS_MAX)?,
            Storage::Bytes(bytes) => within("stored", bytes, 0.0, STORED_MAX)?,
        };
        let is_written = rates.batches() > 0.0;
        let batch_bytes = if is_written {
            write_rate / rates.batches()
        } else {
            shape.batch_bytes
        };
        let load = Load {
            write_rate,
            batch_bytes: batch_bytes.max(61.0),
            ..shape.clone()
        };
        load.check()?;
        let (sent, got) = rates.moved();
        let mut uses = rates.uses(how);
        uses.extend(model::around(&load, prices, (sent, got)));
        uses.push(Use::new(
            Kind::Stored,
            "storage",
            kept_bytes / GIB * prices.object_store.storage_factor,
            match storage {
                Storage::Retention(time) => format!(
                    "{:.3} MiB/s counted, kept for {:.1} days",
                    write_rate / MIB,
                    time / 86_400.0
                ),
                Storage::Bytes(_) => "as given".to_owned(),
            },
        ));
        uses.extend(model::machines(&load, prices));
        let carried = Carried {
            write_rate,
            tail_rate: rates.fetched(),
            catch_up_rate: 0.0,
            kept_bytes,
            zones: load.zones,
            brokers: load.kafka_brokers,
        };
        let words = format!(
            "{how}: {:.3} MiB/s written in batches of {:.1} KiB, {:.3} MiB/s read",
            write_rate / MIB,
            batch_bytes / 1024.0,
            rates.fetched() / MIB
        );
        Ok(Self::new(
            (words, load.batch_bytes),
            &uses,
            &carried,
            prices,
        ))
    }

    fn new(
        (load, batch_bytes): (String, f64),
        uses: &[Use],
        carried: &Carried,
        prices: &PriceList,
    ) -> Self {
        let peer = format!(
            "Kafka, {} replicas in {} zones",
            prices.kafka.replicas, carried.zones
        );
        Self {
            prices: prices.name.clone(),
            date: prices.date.clone(),
            region: prices.region.clone(),
            currency: prices.currency.clone(),
            sources: prices.sources.clone(),
            load,
            written_bytes_per_second: carried.write_rate,
            read_bytes_per_second: carried.tail_rate + carried.catch_up_rate,
            batch_bytes,
            tidelog: Bill::new("Tidelog", uses, prices),
            kafka: Bill::new(peer, &kafka::uses(carried, prices), prices),
        }
    }
}

#[cfg(test)]
mod tests;
