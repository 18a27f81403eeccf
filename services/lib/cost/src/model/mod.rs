//! From a described load to requests and bytes, by the rules that brokers, the store and the janitor follow.
//!
//! Each part says in its own words which rule it stands on. Tests hold the rates of segments against the
//! broker's engine, and those of the store against a running server.

mod merge;
mod reads;
mod segments;
mod store;

pub use segments::SegmentRate;

use crate::load::{Load, Metadata};
use crate::prices::PriceList;
use crate::uses::{GIB, Kind, MIB, MONTH_SECONDS, Use};

/// What the manifest of a segment has for each batch, about: times, length, producer and sequence.
pub(crate) const MANIFEST_BATCH_BYTES: f64 = 20.0;

/// Everything that the load uses in a month.
pub(crate) fn uses(load: &Load, prices: &PriceList) -> Vec<Use> {
    let put_seconds = prices.object_store.put_latency_ms / 1000.0;
    let flush_seconds = prices.object_store.small_put_latency_ms / 1000.0;
    let segments = SegmentRate::of(load, put_seconds);
    let merges = merge::Merges::of(load, &segments);
    let reads = reads::Reads::of(load, &segments);
    let mut uses = segments.uses();
    uses.extend(store::uses(load, &segments, flush_seconds));
    uses.extend(merges.uses());
    uses.extend(reads.uses());
    uses.push(Use::each_second(
        Kind::Delete,
        "segments deleted",
        segments.rate + merges.outputs,
        "each segment and merged segment, once".to_owned(),
    ));
    let sent = load.write_rate + merges.bytes;
    let got = merges.bytes + reads.bytes;
    uses.extend(around(load, prices, (sent, got)));
    uses.push(stored(load, &merges, prices));
    uses.extend(machines(load, prices));
    uses
}

/// What comes with the bytes that are sent and got each second.
pub(crate) fn around(load: &Load, prices: &PriceList, moved_bytes: (f64, f64)) -> Vec<Use> {
    let mut uses = moved(moved_bytes).to_vec();
    uses.extend(between_zones(load, prices, moved_bytes));
    uses
}

/// Bytes to and from the object store, for lists that have a price for them.
fn moved((sent, got): (f64, f64)) -> [Use; 2] {
    let line = |kind, what, rate: f64| {
        let from = format!("{:.1} MiB/s", rate / MIB);
        Use::bytes_each_second(kind, what, rate, from)
    };
    [
        line(Kind::Upload, "sent to the object store", sent),
        line(Kind::Download, "got from the object store", got),
    ]
}

/// Clients are served in their zone; what brokers tell the metadata service, and hear from it, is not.
fn between_zones(load: &Load, prices: &PriceList, (sent, got): (f64, f64)) -> Vec<Use> {
    let (brokers, store) = (f64::from(load.brokers), &prices.object_store);
    let manifests = load.batch_rate() * MANIFEST_BATCH_BYTES;
    let told = manifests * (1.0 + brokers) * load.other_zones();
    let mut uses = vec![
        Use::bytes_each_second(
            Kind::CrossZone,
            "clients across zones",
            0.0,
            "any broker takes and serves any partition: clients use one in their zone".to_owned(),
        ),
        Use::bytes_each_second(
            Kind::CrossZone,
            "manifests and news across zones",
            told,
            format!(
                "{:.0} batches/s x {MANIFEST_BATCH_BYTES} bytes, once to the metadata service and to \
                 {brokers} brokers, {:.0} % to another zone",
                load.batch_rate(),
                load.other_zones() * 100.0
            ),
        ),
    ];
    let (written, read) = (store.cross_zone_written, store.cross_zone_read);
    if (written > 0.0 || read > 0.0) && load.zones > 1 {
        let across = sent * written + got * read;
        let from = format!(
            "{:.1} MiB/s sent x {written} and {:.1} MiB/s got x {read}",
            sent / MIB,
            got / MIB
        );
        let what = "object store across zones";
        uses.push(Use::bytes_each_second(Kind::CrossZone, what, across, from));
    }
    uses
}

/// What lies in the bucket when as much goes as comes.
fn stored(load: &Load, merges: &merge::Merges, prices: &PriceList) -> Use {
    let kept = load.write_rate * load.retention / GIB;
    let twice = merges.bytes * merge::GRACE_SECONDS.min(load.retention) / GIB;
    let factor = prices.object_store.storage_factor;
    let disks = if factor > 1.0 {
        format!(", x {factor} of disk")
    } else {
        String::new()
    };
    Use::new(
        Kind::Stored,
        "storage",
        (kept + twice) * factor,
        format!(
            "{:.1} MiB/s kept for {:.1} days, and {twice:.1} GiB that are merged and not deleted yet{disks}",
            load.write_rate / MIB,
            load.retention / 86_400.0
        ),
    )
}

/// The machines of everything but the peer.
pub(crate) fn machines(load: &Load, prices: &PriceList) -> Vec<Use> {
    let name = &prices.machine.name;
    let fdb = match load.metadata {
        Metadata::Embedded => 0,
        Metadata::FoundationDb(machines) => machines,
    };
    let all = [
        ("brokers, with the other roles", load.brokers),
        ("readers", load.readers),
        ("FoundationDB", fdb),
        ("the object store", prices.object_store.machines),
    ];
    let used = all.into_iter().filter(|(_, count)| *count > 0);
    used.map(|(what, count)| {
        let hours = f64::from(count) * MONTH_SECONDS / 3_600.0;
        let from = format!("{count} x {name} x 730 hours");
        Use::new(Kind::Machine, what, hours, from)
    })
    .collect()
}
