//! The engine on a metadata service in memory and a bucket that fails as told. Time is paused: it goes
//! on only when every task waits, so that each run is the same.

mod world;

mod failure;
mod order;
