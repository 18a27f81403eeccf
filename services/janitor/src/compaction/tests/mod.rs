//! Compaction: the rules by a model.

mod model;
