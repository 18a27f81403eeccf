//! What the numbers of a price list may be.

use super::{PriceError, PriceList, STEPS_MAX, StoragePrice};
use crate::limits::{FACTOR_MAX, PRICE_MAX, within};

/// Most machines of the store, and most replicas.
const MACHINES_MAX: f64 = 100_000.0;
/// Most GiB of a step.
const GIB_MAX: f64 = 1e15;
/// Longest time of a PUT in milliseconds.
const PUT_MS_MAX: f64 = 60_000.0;

impl PriceList {
    pub(super) fn check(&self) -> Result<(), PriceError> {
        let (store, kafka) = (&self.object_store, &self.kafka);
        for (what, price) in [
            ("object_store.class_a_per_1000", store.class_a_per_1000),
            ("object_store.class_b_per_1000", store.class_b_per_1000),
            ("object_store.delete_per_1000", store.delete_per_1000),
            ("object_store.upload_per_gib", store.upload_per_gib),
            ("object_store.download_per_gib", store.download_per_gib),
            (
                "network.cross_zone_per_gib",
                self.network.cross_zone_per_gib,
            ),
            ("machine.per_hour", self.machine.per_hour),
            ("disk.per_gib_month", self.disk.per_gib_month),
            ("disk.throughput_free_mib", self.disk.throughput_free_mib),
            (
                "disk.throughput_per_mib_month",
                self.disk.throughput_per_mib_month,
            ),
            (
                "kafka.machine_per_hour",
                kafka.machine_per_hour.unwrap_or(0.0),
            ),
        ] {
            within(what, price, 0.0, PRICE_MAX)?;
        }
        for (what, factor) in [
            ("object_store.cross_zone_written", store.cross_zone_written),
            ("object_store.cross_zone_read", store.cross_zone_read),
        ] {
            within(what, factor, 0.0, FACTOR_MAX)?;
        }
        for (what, milliseconds) in [
            ("object_store.put_latency_ms", store.put_latency_ms),
            (
                "object_store.small_put_latency_ms",
                store.small_put_latency_ms,
            ),
        ] {
            within(what, milliseconds, 0.01, PUT_MS_MAX)?;
        }
        within(
            "object_store.storage_factor",
            store.storage_factor,
            1.0,
            FACTOR_MAX,
        )?;
        within(
            "object_store.machines",
            f64::from(store.machines),
            0.0,
            MACHINES_MAX,
        )?;
        within("kafka.replicas", f64::from(kafka.replicas), 1.0, 100.0)?;
        within("kafka.disk_fill", kafka.disk_fill, 0.01, 1.0)?;
        self.check_steps()
    }

    fn check_steps(&self) -> Result<(), PriceError> {
        for step in self.steps() {
            within("object_store.storage", step.per_gib_month, 0.0, PRICE_MAX)?;
        }
        let StoragePrice::Steps(steps) = &self.object_store.storage else {
            return Ok(());
        };
        let (last, rest) = steps.split_last().ok_or(PriceError::Steps)?;
        if last.up_to_gib.is_some() || steps.len() > STEPS_MAX {
            return Err(PriceError::Steps);
        }
        let mut below = 0.0;
        for step in rest {
            let up_to = step.up_to_gib.ok_or(PriceError::Steps)?;
            within("object_store.storage.up_to_gib", up_to, 0.0, GIB_MAX)?;
            if up_to <= below {
                return Err(PriceError::Steps);
            }
            below = up_to;
        }
        Ok(())
    }
}
