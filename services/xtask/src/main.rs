//! The developers' front door: test, tidy, codegen, docs, bench.

fn main() {}
