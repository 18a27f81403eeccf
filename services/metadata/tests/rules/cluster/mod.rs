//! Several metadata processes on one store: they share the shards, hand them over, take over from the
//! dead, and keep the commit rules whoever is paused, killed or drained meanwhile.

mod audit;
pub(crate) mod nodes;

mod alone;
mod elsewhere;
mod handover;
mod members;
mod paused;
mod random;
mod touch;
mod writers;
