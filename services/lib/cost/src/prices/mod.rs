//! Price lists: the built-in ones, and what users say instead.

mod numbers;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml::{Table, Value};

use crate::limits::OutOfRange;
use crate::uses::Kind;

/// The built-in lists: names and texts.
const BUILT_IN: [(&str, &str); 3] = [
    ("s3", include_str!("lists/s3.toml")),
    ("s3-express", include_str!("lists/s3-express.toml")),
    ("minio", include_str!("lists/minio.toml")),
];

/// Largest file of prices; the built-in ones have 2 KiB.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Most steps of storage prices.
const STEPS_MAX: usize = 64;

/// What everything costs, and who says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    /// Its name.
    pub name: String,
    /// When the prices were read.
    pub date: String,
    /// Where they hold.
    pub region: String,
    /// What they are in.
    pub currency: String,
    /// The pages that they stand on.
    pub sources: Vec<String>,
    /// The object store.
    pub object_store: ObjectStore,
    /// The network.
    pub network: Network,
    /// The machines.
    pub machine: Machine,
    /// Disks of the peer.
    pub disk: Disk,
    /// How the peer is run.
    pub kafka: Kafka,
}

/// Prices of the object store. The comments of the built-in lists say what each is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectStore {
    pub class_a_per_1000: f64,
    pub class_b_per_1000: f64,
    pub delete_per_1000: f64,
    pub upload_per_gib: f64,
    pub download_per_gib: f64,
    pub storage: StoragePrice,
    pub storage_factor: f64,
    pub cross_zone_written: f64,
    pub cross_zone_read: f64,
    pub machines: u32,
    pub put_latency_ms: f64,
    pub small_put_latency_ms: f64,
}

/// What a GiB-month costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoragePrice {
    /// The same for all of them.
    Flat(f64),
    /// Less for more of them.
    Steps(Vec<Step>),
}

/// Up to where a price holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Up to so many GiB in all; without it for all the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to_gib: Option<f64>,
    /// The price.
    pub per_gib_month: f64,
}

/// Prices of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    pub cross_zone_per_gib: f64,
}

/// Prices of machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub name: String,
    pub per_hour: f64,
}

/// Prices of disks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    pub per_gib_month: f64,
    pub throughput_free_mib: f64,
    pub throughput_per_mib_month: f64,
}

/// How the peer is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    pub replicas: u32,
    pub disk_fill: f64,
    pub follower_fetch: bool,
    /// Where its machines cost something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_per_hour: Option<f64>,
}

/// Why a list of prices cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PriceError {
    /// No such list.
    #[error(
        "there is no price list `{0}`: there are `s3`, `s3-express` and `minio`, or give a file"
    )]
    Unknown(String),
    /// Too much text.
    #[error("a price list has at most {TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// Not in the right form.
    #[error("the price list is not right: {0}")]
    Form(String),
    /// A price that cannot be set.
    #[error("`{0}` cannot be set: write SECTION.KEY=VALUE, such as `object_store.storage=0.02`")]
    Setting(String),
    /// A number that no price can be.
    #[error(transparent)]
    Number(#[from] OutOfRange),
    /// Steps of storage that are not in their order.
    #[error(
        "`object_store.storage` needs 1 to {STEPS_MAX} steps: each but the last with a larger `up_to_gib` \
             than the one before, the last without"
    )]
    Steps,
}

impl PriceList {
    /// The text of a built-in list, to begin one's own with.
    pub fn built_in(name: &str) -> Result<&'static str, PriceError> {
        let mut lists = BUILT_IN.iter();
        lists
            .find(|(known, _)| *known == name)
            .map(|(_, text)| *text)
            .ok_or_else(|| PriceError::Unknown(name.to_owned()))
    }

    /// The list `name`, with what `file` says instead, and then what `settings` say: pairs such as
    /// (`network.cross_zone_per_gib`, `0`).
    pub fn load(
        name: &str,
        file: Option<&str>,
        settings: &[(String, String)],
    ) -> Result<Self, PriceError> {
        let mut table = parse(Self::built_in(name)?)?;
        if let Some(text) = file {
            overlay(&mut table, parse(text)?);
        }
        for (key, value) in settings {
            set(&mut table, key, value)?;
        }
        let list: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| PriceError::Form(said(&error)))?;
        list.check()?;
        Ok(list)
    }

    /// What [`Kind::per`] units cost; of [`Kind::Stored`] the first ones.
    pub fn price(&self, kind: Kind) -> f64 {
        let store = &self.object_store;
        match kind {
            Kind::ClassA => store.class_a_per_1000,
            Kind::ClassB => store.class_b_per_1000,
            Kind::Delete => store.delete_per_1000,
            Kind::Upload => store.upload_per_gib,
            Kind::Download => store.download_per_gib,
            Kind::Stored => self.steps().first().map_or(0.0, |step| step.per_gib_month),
            Kind::CrossZone => self.network.cross_zone_per_gib,
            Kind::Machine => self.machine.per_hour,
            Kind::KafkaMachine => self.kafka.machine_per_hour.unwrap_or(self.machine.per_hour),
            Kind::Disk => self.disk.per_gib_month,
            Kind::DiskThroughput => self.disk.throughput_per_mib_month,
        }
    }

    /// What stored GiB cost, step by step.
    pub fn steps(&self) -> Vec<Step> {
        match &self.object_store.storage {
            StoragePrice::Flat(price) => vec![Step {
                up_to_gib: None,
                per_gib_month: *price,
            }],
            StoragePrice::Steps(steps) => steps.clone(),
        }
    }
}

fn parse(text: &str) -> Result<Table, PriceError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(PriceError::TooLong);
    }
    text.parse()
        .map_err(|error: toml::de::Error| PriceError::Form(said(&error)))
}

/// What the parser says, in one line.
fn said(error: &toml::de::Error) -> String {
    error.message().replace('\n', ", ")
}

/// Puts `upper` over `table`: sections are joined, everything else is replaced.
fn overlay(table: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => below.extend(above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

fn set(table: &mut Table, key: &str, text: &str) -> Result<(), PriceError> {
    let wrong = || PriceError::Setting(format!("{key}={text}"));
    let (section, name) = match key.split_once('.') {
        None => (table, key),
        Some((section, name)) => {
            let section = table.get_mut(section).and_then(Value::as_table_mut);
            (section.ok_or_else(wrong)?, name)
        }
    };
    let is_known = section.contains_key(name) || key == "kafka.machine_per_hour";
    if !is_known {
        return Err(wrong());
    }
    let value = match (
        text.parse::<i64>(),
        text.parse::<f64>(),
        text.parse::<bool>(),
    ) {
        (Ok(whole), _, _) => Value::Integer(whole),
        (_, Ok(number), _) => Value::Float(number),
        (_, _, Ok(flag)) => Value::Boolean(flag),
        _ => Value::String(text.to_owned()),
    };
    section.insert(name.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests;
