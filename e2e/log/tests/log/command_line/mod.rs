//! Commands say what they did, how far, and what they wait for.

mod closed;
mod partial;
mod patience;
mod refusals;
mod support;
