//! The contract of the store on `FoundationDB`, against a server of its own for each test.

mod conformance;
mod ending;
mod isolation;
mod limits;
mod opening;
mod outages;
mod support;
mod unknown;
