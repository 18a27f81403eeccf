//! The binary tidelog: serve and the command line.

fn main() {}
