//! What a decoder allocates is what it was allowed to, counted by the allocator itself. This is a test of
//! its own, since the allocator counts for the whole process.

use std::alloc::System;

use bytes::Bytes;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tidelog_kafka_codec::{Budget, Kind};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The memory that a message may take here.
const BUDGET_BYTES: usize = 64 << 10;
/// What comes on top: the counter of the frame's slices, an error and its text, the path into it.
const BESIDE_BYTES: usize = 2 << 10;

/// Bodies that claim as much as they can: counts that fit the bytes behind them, in all sizes of integers.
fn bodies() -> Vec<Bytes> {
    let mut bodies = Vec::new();
    for length in [0_usize, 1, 7, 100, 4096, 60_000] {
        for fill in [0, 1, 2, 3, 0x10, 0x7f, 0x80, 0xff] {
            bodies.push(vec![fill; length].into());
        }
        let mut number = length;
        let mixed: Vec<u8> = (0..length)
            .map(|_| {
                number = number.wrapping_mul(0x5851_f42d).wrapping_add(0x14057);
                [0, 0, 0, 1, 2, 0x40, 0xff, number.to_le_bytes()[2]][(number >> 8) % 8]
            })
            .collect();
        bodies.push(mixed.into());
    }
    bodies
}

#[test]
fn a_decoder_allocates_no_more_than_its_budget() {
    let bodies = bodies();
    let mut largest = 0;
    for kind in Kind::ALL {
        for version in kind.versions.iter() {
            for body in &bodies {
                let mut budget = Budget::bytes(BUDGET_BYTES);
                let before = Region::new(ALLOCATOR);
                let decoded = kind.decode(body.clone(), version, &mut budget);
                let allocated = before.change().bytes_allocated;
                drop(decoded);
                let spent = BUDGET_BYTES - budget.left();
                assert!(
                    allocated <= spent + BESIDE_BYTES,
                    "`{}` version {version} took {allocated} bytes and paid for {spent}",
                    kind.name
                );
                largest = largest.max(spent);
            }
        }
    }
    assert!(
        largest > BUDGET_BYTES / 2,
        "nobody came near the budget: {largest}"
    );
}
