//! What is used in a month, before anyone asks for money.

/// Seconds of the month that is billed: 730 hours, a twelfth of a year.
pub const MONTH_SECONDS: f64 = 730.0 * 3_600.0;

/// Bytes of a GiB.
pub(crate) const GIB: f64 = 1_073_741_824.0;
/// Bytes of a MiB.
pub(crate) const MIB: f64 = 1_048_576.0;

/// What is paid for, each with a price of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Requests that write or list.
    ClassA,
    /// Requests that read.
    ClassB,
    /// Requests that delete.
    Delete,
    /// GiB sent to the object store.
    Upload,
    /// GiB got from the object store.
    Download,
    /// GiB of ours that lie in the object store for a month.
    Stored,
    /// GiB from one zone to another.
    CrossZone,
    /// Machines for an hour.
    Machine,
    /// Machines of the peer for an hour.
    KafkaMachine,
    /// GiB of disk for a month.
    Disk,
    /// MiB/s of disk for a month, beyond those in its price.
    DiskThroughput,
}

impl Kind {
    /// What is counted.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::ClassA | Self::ClassB | Self::Delete => "requests",
            Self::Upload | Self::Download | Self::CrossZone => "GiB",
            Self::Stored | Self::Disk => "GiB-month",
            Self::Machine | Self::KafkaMachine => "hours",
            Self::DiskThroughput => "MiB/s-month",
        }
    }

    /// So many units have the price.
    pub const fn per(self) -> f64 {
        match self {
            Self::ClassA | Self::ClassB | Self::Delete => 1000.0,
            _ => 1.0,
        }
    }
}

/// What is used of one thing in a month.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// What is paid for.
    pub kind: Kind,
    /// What it is used for.
    pub what: String,
    /// How much in a month, in [`Kind::unit`].
    pub quantity: f64,
    /// Where the quantity comes from.
    pub from: String,
}

impl Use {
    /// So much in a month.
    pub(crate) fn new(kind: Kind, what: impl Into<String>, quantity: f64, from: String) -> Self {
        Self {
            kind,
            what: what.into(),
            quantity,
            from,
        }
    }

    /// So much each second.
    pub(crate) fn each_second(
        kind: Kind,
        what: impl Into<String>,
        rate: f64,
        from: String,
    ) -> Self {
        Self::new(kind, what, rate * MONTH_SECONDS, from)
    }

    /// Bytes each second, of a kind that is counted in GiB.
    pub(crate) fn bytes_each_second(
        kind: Kind,
        what: impl Into<String>,
        rate: f64,
        from: String,
    ) -> Self {
        Self::new(kind, what, rate * MONTH_SECONDS / GIB, from)
    }
}
