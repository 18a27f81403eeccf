//! Random histories against a sequential judge: commits of several producers with conditions, retries,
//! duplicates and drops, transactions and their markers, commands, floors, checkpoints, restarts, takeovers and store
//! faults.
//!
//! A seed names a history; a failure prints it.

mod books;
mod drive;
mod judge;
mod merges;
mod purges;
mod requests;

use drive::Driver;

/// Histories in one run; each has its own seed. `TIDELOG_HISTORIES` says how many there are in a longer one.
const HISTORIES: u64 = 300;
/// Steps of a history.
const STEPS: u64 = 25;

/// Returns how many runs were merged in it, how many of them again, and how many were written anew.
fn run(seed: u64) -> (usize, usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut driver = Driver::new(seed).await;
        for _ in 0..STEPS {
            driver.step().await;
        }
        let swapped = driver.swapped();
        driver.end().await;
        swapped
    })
}

#[test]
fn random_histories_are_what_a_sequential_judge_says() {
    let (mut swapped, mut again, mut rewritten) = (0, 0, 0);
    let wanted = std::env::var("TIDELOG_HISTORIES").ok();
    let wanted = wanted.map(|text| text.parse().expect("a number of histories"));
    for seed in 0..wanted.unwrap_or(HISTORIES) {
        let done = run(seed);
        swapped += done.0;
        again += done.1;
        rewritten += done.2;
    }
    println!("{swapped} runs were merged, {again} of them again, {rewritten} written anew");
    assert!(swapped > 100, "only {swapped} runs were merged");
    assert!(again > 0, "no run was merged again");
    assert!(rewritten > 0, "no run was written anew");
}

/// Two runs of one seed write the same bytes, so that a seed is enough to see a failure again.
#[test]
fn a_seed_names_one_history() {
    let dump = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut driver = Driver::new(seed).await;
            for _ in 0..STEPS {
                driver.step().await;
            }
            driver.rows()
        })
    };
    assert_eq!(dump(3), dump(3));
    assert_ne!(dump(3), dump(4));
}
