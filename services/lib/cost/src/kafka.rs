//! The same load on Kafka with replicas in all zones.

use crate::prices::PriceList;
use crate::uses::{GIB, Kind, MIB, MONTH_SECONDS, Use};

/// What the peer has to carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    /// Bytes written each second.
    pub(crate) write_rate: f64,
    /// Bytes read each second as they come.
    pub(crate) tail_rate: f64,
    /// Bytes of old data read each second.
    pub(crate) catch_up_rate: f64,
    /// Bytes that are kept, once.
    pub(crate) kept_bytes: f64,
    pub(crate) zones: u32,
    pub(crate) brokers: u32,
}

/// How many of the copies of a batch go to another zone than its leader's, on average: replicas are spread as
/// evenly as they can be, and each of them leads as often as any other.
fn copies_across(replicas: u32, zones: u32) -> f64 {
    let (each, more) = (replicas / zones, replicas % zones);
    let squares = f64::from(more) * f64::from(each + 1).powi(2)
        + f64::from(zones - more) * f64::from(each).powi(2);
    f64::from(replicas) - squares / f64::from(replicas)
}

pub(crate) fn uses(carried: &Carried, prices: &PriceList) -> Vec<Use> {
    let mut uses = traffic(carried, prices);
    let kafka = &prices.kafka;
    let replicas = f64::from(kafka.replicas);
    let kept = carried.kept_bytes / GIB;
    uses.push(Use::new(
        Kind::Disk,
        "disks",
        kept * replicas / kafka.disk_fill,
        format!(
            "{kept:.1} GiB kept x {replicas} replicas, disks filled to {:.0} %",
            kafka.disk_fill * 100.0
        ),
    ));
    let brokers = f64::from(carried.brokers);
    let each = (carried.write_rate * replicas + carried.catch_up_rate) / brokers / MIB;
    let beyond = (each - prices.disk.throughput_free_mib).max(0.0);
    uses.push(Use::new(
        Kind::DiskThroughput,
        "throughput of disks",
        beyond * brokers,
        format!(
            "{each:.1} MiB/s a broker (writes x {replicas}, old data), {:.0} of it free",
            prices.disk.throughput_free_mib
        ),
    ));
    let name = &prices.machine.name;
    uses.push(Use::new(
        Kind::KafkaMachine,
        "brokers",
        brokers * MONTH_SECONDS / 3_600.0,
        format!("{brokers} x {name} x 730 hours"),
    ));
    uses
}

/// What goes from zone to zone.
fn traffic(carried: &Carried, prices: &PriceList) -> Vec<Use> {
    let (kafka, zones) = (&prices.kafka, f64::from(carried.zones));
    let across = (zones - 1.0) / zones;
    let copies = copies_across(kafka.replicas, carried.zones);
    let (write, read) = (
        carried.write_rate,
        carried.tail_rate + carried.catch_up_rate,
    );
    let (consumed, how) = if kafka.follower_fetch {
        (
            0.0,
            "consumers read from a replica in their zone".to_owned(),
        )
    } else {
        (
            read * across,
            format!(
                "{:.1} MiB/s read from leaders, {:.0} % of it in another zone; none with `kafka.follower_fetch`",
                read / MIB,
                across * 100.0
            ),
        )
    };
    let written = write / MIB;
    vec![
        Use::bytes_each_second(
            Kind::CrossZone,
            "replication across zones",
            write * copies,
            format!("{written:.1} MiB/s written x {copies:.2} copies in another zone"),
        ),
        Use::bytes_each_second(
            Kind::CrossZone,
            "produce across zones",
            write * across,
            format!(
                "{written:.1} MiB/s written, leaders of {:.0} % of it are in another zone",
                across * 100.0
            ),
        ),
        Use::bytes_each_second(Kind::CrossZone, "consume across zones", consumed, how),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_go_where_replicas_are() {
        for (replicas, zones, across) in [
            (3, 3, 2.0),
            (3, 1, 0.0),
            (3, 2, 4.0 / 3.0),
            (1, 3, 0.0),
            (3, 6, 2.0),
            (4, 3, 2.5),
        ] {
            let found = copies_across(replicas, zones);
            assert!(
                (found - across).abs() < 1e-12,
                "{replicas} in {zones}: {found}"
            );
        }
    }

    #[test]
    fn consumers_that_read_in_their_zone_cost_nothing_across_zones() {
        let follower = [("kafka.follower_fetch".to_owned(), "true".to_owned())];
        let carried = Carried {
            write_rate: MIB,
            tail_rate: 3.0 * MIB,
            catch_up_rate: 0.0,
            kept_bytes: GIB,
            zones: 3,
            brokers: 3,
        };
        let consumed = |settings: &[(String, String)]| {
            let prices = PriceList::load("s3", None, settings).unwrap();
            let uses = uses(&carried, &prices);
            let consume = uses.iter().find(|used| used.what.starts_with("consume"));
            consume.map(|used| used.quantity).unwrap()
        };
        assert!(consumed(&follower).abs() < 1e-12);
        assert!((consumed(&[]) - 2.0 * MIB * MONTH_SECONDS / GIB).abs() < 1e-6);
    }
}
