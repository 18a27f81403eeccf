//! Which lines of the input are written, so that one who was interrupted can go on without writing a
//! record twice; no I/O.

use std::collections::VecDeque;

use serde::Serialize;
use tidelog_client::{Delivery, ProduceError};

/// As many gaps are told one by one; there may be millions.
const GAPS_TOLD: usize = 8;

/// A record that was sent.
struct Sent<D> {
    line: u64,
    bytes: u64,
    delivery: D,
}

/// What becomes of a record: a [`Delivery`], or a stand-in of a test.
pub(super) trait Fate {
    /// What is known now; `None` while the record is on its way.
    fn known(&self) -> Option<Result<(), ProduceError>>;
}

impl Fate for Delivery {
    fn known(&self) -> Option<Result<(), ProduceError>> {
        self.peek().map(|result| result.map(|_| ()))
    }
}

/// Records on their way, in the order of their lines, and how many before them are acknowledged.
pub(super) struct Ledger<D = Delivery> {
    sent: VecDeque<Sent<D>>,
    acknowledged: u64,
}

/// How far it went, once everything that was sent has its outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Account {
    /// How many records are in the log.
    pub(super) acknowledged: u64,
    /// How many may be in the log or not.
    pub(super) unknown: u64,
    /// Everything before this line is in the log.
    pub(super) first_line_not_written: u64,
    /// How many records at or behind that line are in the log as well.
    pub(super) acknowledged_behind: u64,
    /// The lines that were sent and are not known to be in the log, from and to; the first few.
    pub(super) gaps: Vec<(u64, u64)>,
    /// Whether there are more of them.
    pub(super) more_gaps: bool,
    /// What was read last.
    pub(super) last_line_read: u64,
    /// The largest record that was not written: its line and its bytes.
    #[serde(skip)]
    pub(super) largest: Option<(u64, u64)>,
}

impl<D: Fate> Ledger<D> {
    pub(super) const fn new() -> Self {
        Self {
            sent: VecDeque::new(),
            acknowledged: 0,
        }
    }

    /// Notes that a record was sent.
    pub(super) fn sent(&mut self, line: u64, bytes: u64, delivery: D) {
        self.sent.push_back(Sent {
            line,
            bytes,
            delivery,
        });
    }

    /// Forgets what is acknowledged from the front; answers whether the record there has failed.
    pub(super) fn has_failed(&mut self) -> bool {
        while let Some(front) = self.sent.front() {
            match front.delivery.known() {
                Some(Ok(())) => {
                    self.acknowledged += 1;
                    self.sent.pop_front();
                }
                Some(Err(_)) => return true,
                None => return false,
            }
        }
        false
    }

    /// The account after everything has its outcome. `unsent` is the line that could not be sent, if that
    /// is what ended it; `last` the last that was read.
    pub(super) fn close(mut self, unsent: Option<u64>, last: u64) -> Account {
        self.has_failed();
        let mut account = Account {
            acknowledged: self.acknowledged,
            last_line_read: last,
            ..Account::default()
        };
        let mut gap: Option<(u64, u64)> = None;
        let mut first = None;
        for sent in &self.sent {
            match sent.delivery.known() {
                Some(Ok(())) => {
                    account.acknowledged += 1;
                    account.acknowledged_behind += 1;
                    account.take_gap(gap.take());
                }
                failed => {
                    let unknown = failed
                        .is_none_or(|failed| failed.is_err_and(|error| error.may_have_happened()));
                    account.unknown += u64::from(unknown);
                    first.get_or_insert(sent.line);
                    gap = Some((gap.map_or(sent.line, |gap| gap.0), sent.line));
                    if account.largest.is_none_or(|(_, most)| sent.bytes > most) {
                        account.largest = Some((sent.line, sent.bytes));
                    }
                }
            }
        }
        account.take_gap(gap);
        account.first_line_not_written = first.or(unsent).unwrap_or(last + 1);
        account
    }
}

impl Account {
    fn take_gap(&mut self, gap: Option<(u64, u64)>) {
        let Some(gap) = gap else { return };
        if self.gaps.len() < GAPS_TOLD {
            self.gaps.push(gap);
        } else {
            self.more_gaps = true;
        }
    }

    /// Whether anything was written, or may have been.
    pub(super) const fn is_something(&self) -> bool {
        self.acknowledged > 0 || self.unknown > 0
    }

    /// The gaps for people: `2, 5-9`.
    pub(super) fn gaps_text(&self) -> String {
        let mut texts: Vec<String> = self
            .gaps
            .iter()
            .map(|(from, to)| {
                if from == to {
                    from.to_string()
                } else {
                    format!("{from}-{to}")
                }
            })
            .collect();
        if self.more_gaps {
            texts.push("and more".to_owned());
        }
        texts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    type Known = Option<Result<(), ProduceError>>;

    impl Fate for Rc<RefCell<Known>> {
        fn known(&self) -> Known {
            self.borrow().clone()
        }
    }

    fn ledger(fates: &[Known]) -> Ledger<Rc<RefCell<Known>>> {
        let mut ledger = Ledger::new();
        for (line, fate) in (1..).zip(fates) {
            ledger.sent(line, 10 * line, Rc::new(RefCell::new(fate.clone())));
        }
        ledger
    }

    const OK: Known = Some(Ok(()));
    const LOST: Known = Some(Err(ProduceError::ConnectionLost));

    const REFUSED: Known = Some(Err(ProduceError::Dropped {
        outcome_unknown: false,
    }));

    #[test]
    fn a_line_that_cannot_be_sent_is_the_first_that_is_not_written() {
        let account = ledger(&[OK, OK]).close(Some(3), 3);
        assert_eq!(account.acknowledged, 2);
        assert_eq!(account.first_line_not_written, 3);
        assert!(account.is_something() && account.gaps.is_empty());
        assert!(!ledger(&[]).close(Some(1), 1).is_something());
    }

    #[test]
    fn what_is_written_behind_a_gap_is_told_with_the_gaps() {
        let mut ledger = ledger(&[OK, REFUSED, OK, REFUSED, LOST, OK]);
        assert!(ledger.has_failed());
        let account = ledger.close(None, 6);
        assert_eq!(account.first_line_not_written, 2);
        assert_eq!((account.acknowledged, account.acknowledged_behind), (3, 2));
        assert_eq!(account.unknown, 1);
        assert_eq!(account.gaps_text(), "2, 4-5");
        assert_eq!(account.largest, Some((5, 50)));
    }

    #[test]
    fn a_record_on_its_way_is_no_failure_and_gaps_are_told_up_to_a_number() {
        assert!(!ledger(&[OK, None, REFUSED]).has_failed());
        let fates: Vec<Known> = (0..40)
            .map(|at| if at % 2 == 0 { REFUSED } else { OK })
            .collect();
        let account = ledger(&fates).close(None, 40);
        assert_eq!(account.gaps.len(), GAPS_TOLD);
        assert!(account.gaps_text().ends_with("and more"));
    }
}
