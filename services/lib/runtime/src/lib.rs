//! What every process needs: settings, telemetry, signals, drain and the admin HTTP server.
//!
//! Nothing here knows what the process does. Settings are plain data read from what they are given; the
//! parts of a process get their own share of them from whoever puts the process together.

pub mod access;
pub mod admin;
pub mod exit;
pub mod health;
pub mod memory;
pub mod metrics;
pub mod settings;
pub mod signals;
pub mod telemetry;

pub use access::{
    AllowAll, Allowance, Authorizer, Caller, Charge, Denied, Operation, Principal, Quota, Resource,
};
pub use admin::{AdminServer, ShownMetrics};
pub use exit::Exit;
pub use health::{Condition, Health};
pub use memory::MemoryPlan;
pub use settings::Settings;
pub use signals::{End, Signals};
