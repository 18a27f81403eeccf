//! The store of tests and simulation: in memory, with faults on demand.
