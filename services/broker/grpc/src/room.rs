//! The memory of an answer to a read, in the order in which it is taken.
//!
//! First comes the turn of its connection in the share of answers that readers have not taken, which may take
//! long, since it goes back at the pace of readers. Only then is held what the process gives back at its own
//! pace: copies of batches, and memory for records. So nobody waits for a slow reader but at that one place,
//! where those who want little go first and those who take nothing give way.

use std::time::Duration;

use tidelog_broker_engine::{
    FairHold, FetchRequest, Fetched, FetchedPartition, FoundPartition, MemoryHold, RecordsEstimate,
};

use crate::data::Form;
use crate::decode::RECORD_BYTES;
use crate::front::Front;
use crate::transport::Outlet;

/// What a record is on its way out besides its bytes, usually.
const RECORD_WIRE_BYTES: u64 = 32;
/// The least that is held for records. Those that lie in their batches need little besides.
const PLAIN_BUDGET_MIN: u64 = 16 * 1024;
/// The least that is held where batches are compressed: how well is not known.
const COMPRESSED_BUDGET_MIN: u64 = 256 * 1024;

/// What one answer has of it.
#[derive(Debug)]
pub(crate) struct Room {
    outlet: Outlet,
    form: Form,
    turn: Option<FairHold>,
    /// Whether it holds memory for records already. Nobody waits for more while holding some.
    has_records: bool,
    /// What to expect of records, where the headers of their batches promised less than came.
    grown: u64,
    is_short: bool,
}

/// What to hold for records, beside their batches.
fn budget(estimate: RecordsEstimate) -> u64 {
    let least = match estimate.inflated_bytes {
        0 => PLAIN_BUDGET_MIN,
        _ => COMPRESSED_BUDGET_MIN,
    };
    let records = estimate.records.saturating_mul(RECORD_BYTES);
    records.saturating_add(estimate.inflated_bytes).max(least)
}

/// What records are on their way out, beside the bytes of their batches. Those that are compressed become no
/// more than what is held for them.
fn outgoing(estimate: RecordsEstimate) -> u64 {
    match estimate.inflated_bytes {
        0 => estimate.records.saturating_mul(RECORD_WIRE_BYTES),
        _ => budget(estimate),
    }
}

impl Room {
    /// For an answer of a form that goes out there.
    pub(crate) fn new(outlet: &Outlet, form: Form) -> Self {
        Self {
            outlet: outlet.clone(),
            form,
            turn: None,
            has_records: false,
            grown: 0,
            is_short: false,
        }
    }

    /// Room for the same answer, after it was too little: everything is given back first.
    pub(crate) fn again(self) -> Self {
        Self {
            grown: self.grown,
            ..Self::new(&self.outlet, self.form)
        }
    }

    /// How records are handed out.
    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    /// Whether the answer is to be read again with more room.
    pub(crate) const fn is_short(&self) -> bool {
        self.is_short
    }

    /// The turn, if there was anything that needed one.
    pub(crate) fn into_turn(self) -> Option<FairHold> {
        self.turn
    }

    /// Gives the turn back, where nothing came of it.
    pub(crate) fn give_back(&mut self) {
        self.turn = None;
    }

    /// Whether nothing is held for records yet.
    pub(crate) const fn is_first(&self) -> bool {
        !self.has_records
    }

    /// Memory is held for records.
    pub(crate) const fn takes_records(&mut self) {
        self.has_records = true;
    }

    /// What to hold for the records of a partition, at most `most`.
    pub(crate) fn budget(&self, estimate: RecordsEstimate, most: u64) -> u64 {
        let grown = if self.has_records { 0 } else { self.grown };
        budget(estimate).max(grown).min(most)
    }

    /// The records of a partition become more than their batches promise. If they are the first, all of the
    /// answer is read again with room for so many bytes of them; otherwise they are left for the next
    /// answer.
    pub(crate) const fn fell_short(&mut self, most: u64) {
        if !self.has_records {
            self.grown = most;
            self.is_short = true;
        }
    }

    /// What an answer takes on its way out.
    fn need(&self, fetched: &Fetched, most: u64) -> u64 {
        let batches = fetched.bytes();
        if self.form == Form::Batches || batches == 0 {
            return batches;
        }
        let found = fetched.partitions.iter().flatten();
        let records = found.map(|found| outgoing(found.estimate));
        let records = records.fold(0, u64::saturating_add).max(self.grown);
        // No more is held for all records of an answer.
        batches.saturating_add(records.min(most))
    }
}

impl Front {
    /// Reads what is for clients, and has the turn of the answer when it ends. What was read is let go while that is
    /// waited for, and read again: its pages are in memory then.
    pub(crate) async fn read_in_turn(
        &self,
        mut asked: FetchRequest,
        room: &mut Room,
    ) -> (Vec<FoundPartition>, Option<MemoryHold>) {
        let most = self.decode.batch_bytes_max();
        let mut fetched = self.read_or_go(&mut asked).await;
        let mut need = room.need(&fetched, most);
        if need > 0 {
            room.turn = room.outlet.try_turn(need);
        }
        // Other partitions may come first the next time, and need more.
        while need > room.turn.as_ref().map_or(0, FairHold::bytes) {
            asked.bytes_max = fetched.bytes();
            asked.wait_max = Duration::ZERO;
            drop(fetched);
            room.turn = None;
            room.turn = Some(room.outlet.turn(need).await);
            fetched = self.engine().fetch(&asked).await;
            need = room.need(&fetched, most);
        }
        let (found, hold) = fetched.into_parts();
        let visible = |found: FoundPartition| found.map(FetchedPartition::visible);
        (found.into_iter().map(visible).collect(), hold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 16 * 1024 * 1024;

    #[test]
    fn records_in_their_batches_need_little_and_compressed_ones_what_they_usually_become() {
        let plain = RecordsEstimate {
            records: 10,
            inflated_bytes: 0,
        };
        assert_eq!(budget(plain), PLAIN_BUDGET_MIN);
        assert_eq!(outgoing(plain), 10 * RECORD_WIRE_BYTES);
        let compressed = RecordsEstimate {
            records: 10,
            inflated_bytes: 1_000_000,
        };
        assert_eq!(budget(compressed), 10 * RECORD_BYTES + 1_000_000);
        assert_eq!(outgoing(compressed), budget(compressed));
        let claims_all = RecordsEstimate {
            records: u64::MAX,
            inflated_bytes: u64::MAX,
        };
        assert_eq!(
            (budget(claims_all), outgoing(claims_all)),
            (u64::MAX, u64::MAX)
        );
    }

    #[test]
    fn an_answer_whose_first_records_need_more_is_read_again_with_room_for_them() {
        let mut room = Room::new(&Outlet::for_tests(), Form::Records);
        let estimate = RecordsEstimate::default();
        assert_eq!(room.budget(estimate, MOST), PLAIN_BUDGET_MIN);
        room.fell_short(MOST);
        assert!(room.is_short());
        let mut room = room.again();
        assert!(!room.is_short());
        assert_eq!(room.budget(estimate, MOST), MOST);
        room.takes_records();
        // Those behind the first have what their batches promise, and are left for later otherwise.
        assert_eq!(room.budget(estimate, MOST), PLAIN_BUDGET_MIN);
        room.fell_short(MOST);
        assert!(!room.is_short());
    }
}
