//! The engine on a metadata service in memory and a bucket that fails as told. Time is paused: it goes
//! on only when every task waits, so that each run is the same.

mod answer;
mod batches;
mod watched;
mod world;

mod busy;
mod classes;
mod cost;
mod damage;
mod drain;
mod ended;
mod express;
mod failure;
mod far;
mod fetch;
mod floor;
mod flush;
mod hedge;
mod memory;
mod near;
mod order;
mod settle;
mod times;
mod together;
mod transactions;
mod waits;
