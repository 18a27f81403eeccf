//! The object-store seam: names, wrappers, the faulty store and the conformance suite.
