//! Commands say what they did, how far, and what they wait for.

mod partial;
