//! What a load costs in a month, with its arithmetic.
//!
//! ```text
//!   a described load  --model-->  uses  --price list-->  bill
//!   counted requests  --rates-->  uses  --price list-->  bill
//!   the same load     --kafka-->  uses  --price list-->  bill of a cluster of replicas
//! ```
//!
//! A [`Use`] is a quantity a month and where it comes from; a [`Line`] of a [`Bill`] is a use times a price.
//! Nothing is rounded before it is shown, and no number is taken from outside that was not checked: what comes
//! in is finite and within the limits of [`limits`].

mod bill;
mod counters;
mod estimate;
mod kafka;
pub mod limits;
mod load;
mod model;
mod prices;
mod render;
mod uses;

pub use bill::{Bill, Line};
pub use counters::{Counters, CountersError};
pub use estimate::{Estimate, Storage};
pub use load::{Load, Metadata};
pub use model::SegmentRate;
pub use prices::{PriceError, PriceList};
pub use uses::{Kind, MONTH_SECONDS, Use};
