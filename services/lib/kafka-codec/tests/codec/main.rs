//! The codec against its own descriptor, against another implementation, and against bad input.

mod differential;
mod faults;
mod frames;
mod golden;
mod hostile;
mod round_trip;
mod schema;
mod versions;
mod writer;
