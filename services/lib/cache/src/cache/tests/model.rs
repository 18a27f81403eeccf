//! Random readers, fetches and insertions against a model.
//!
//! The model knows which fetches are under way and who waits for which. After each step: a reader begins a
//! fetch exactly if its page is neither here nor under way; a fetch's end reaches all its readers and nobody
//! else, and a fetch without readers ends; no page ever has other bytes than its own; the pool never holds more than its bound.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const BOUND: usize = 64 * 1024;
const PAGES: u64 = 6;

#[derive(Clone, Debug)]
enum Step {
    Ask(u64),
    GoAway(u64),
    Land(u64),
    Fail(u64),
    Insert(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let page = 0..PAGES;
    let step = prop_oneof![
        4 => page.clone().prop_map(Step::Ask),
        1 => page.clone().prop_map(Step::GoAway),
        2 => page.clone().prop_map(Step::Land),
        1 => page.clone().prop_map(Step::Fail),
        1 => page.prop_map(Step::Insert),
    ];
    prop::collection::vec(step, 1..80)
}

/// The bytes of a page: of a size of its own, and about a third of the bound.
fn body(page: u64) -> Bytes {
    let length = 18_000 + usize::try_from(page).unwrap() * 1_000;
    Bytes::from(vec![u8::try_from(page).unwrap(); length])
}

/// A fetch under way and those who wait for it.
struct Flying {
    fetch: oneshot::Sender<io::Result<Bytes>>,
    waiting: Vec<Reading>,
}

struct Model {
    cache: PageCache,
    flying: BTreeMap<u64, Flying>,
}

impl Model {
    fn ask(&mut self, page: u64) {
        let is_here = peek(&self.cache, key(page, 0), ALL).is_some();
        let (mut reading, fetch) = ask(&self.cache, key(page, 0));
        match (self.flying.get_mut(&page), fetch) {
            (_, None) if is_here => {
                let read = (&mut reading).now_or_never().expect("it is here");
                assert_eq!(read.unwrap(), body(page));
            }
            (Some(flying), None) => flying.waiting.push(reading),
            (None, Some(fetch)) if !is_here => {
                let waiting = vec![reading];
                self.flying.insert(page, Flying { fetch, waiting });
            }
            (flying, fetch) => panic!(
                "here: {is_here}, under way: {}, began a fetch: {}",
                flying.is_some(),
                fetch.is_some()
            ),
        }
    }

    async fn end(&mut self, page: u64, end: impl Fn() -> io::Result<Bytes>) {
        let Some(flying) = self.flying.remove(&page) else {
            return;
        };
        flying.fetch.send(end()).unwrap();
        for reading in flying.waiting {
            let read = reading.await;
            match end() {
                Ok(bytes) => assert_eq!(read.unwrap(), bytes),
                Err(_) => assert!(read.unwrap_err().cause().is::<io::Error>()),
            }
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Ask(page) => self.ask(page),
            Step::GoAway(page) => {
                if let Some(flying) = self.flying.get_mut(&page) {
                    flying.waiting.pop();
                    if flying.waiting.is_empty() {
                        assert!(flying.fetch.is_canceled());
                        self.flying.remove(&page);
                    }
                }
            }
            Step::Land(page) => self.end(page, || Ok(body(page))).await,
            Step::Fail(page) => {
                let fault = || Err(io::Error::from(io::ErrorKind::TimedOut));
                self.end(page, fault).await;
            }
            Step::Insert(page) => {
                self.cache.insert(key(page, 0), body(page));
            }
        }
        assert_eq!(self.cache.fetches(), self.flying.len());
        let used = self.cache.snapshot(Pool::Tail).used_bytes;
        assert!(used <= BOUND as u64, "{used}");
        for page in 0..PAGES {
            let read = peek(&self.cache, key(page, 0), ALL);
            assert!(read.is_none_or(|bytes| bytes == body(page)));
        }
    }
}

proptest! {
    #[test]
    fn single_flight_and_the_bound_hold_for_any_order_of_events(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut model = Model {
                cache: cache(BOUND, 0),
                flying: BTreeMap::new(),
            };
            for step in steps {
                model.step(step).await;
            }
        });
    }
}
