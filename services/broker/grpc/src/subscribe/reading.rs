//! Reads the partitions of a member once, as a tail does.

use std::time::Duration;

use tidelog_broker_engine::{FairHold, FetchPartition, FetchRequest, Isolation, MemoryHold};

use super::holdings::Place;
use crate::answer::PartitionAnswer;
use crate::data::Form;
use crate::decode::Wanted;
use crate::front::Front;
use crate::room::Room;
use crate::transport::Outlet;

/// How long a read waits for news before it begins anew.
const WAIT: Duration = Duration::from_secs(5);
/// How long to wait before a failed read is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// What is read, and how.
pub(super) struct Reading {
    pub(super) front: Front,
    pub(super) outlet: Outlet,
    pub(super) form: Form,
    pub(super) isolation: Isolation,
    pub(super) bytes_max: u32,
    pub(super) places: Vec<Place>,
}

/// What was read.
#[derive(Default)]
pub(super) struct Read {
    /// Partitions with news or errors.
    pub(super) found: Vec<(Place, PartitionAnswer)>,
    pub(super) hold: Option<MemoryHold>,
    pub(super) turn: Option<FairHold>,
}

impl Reading {
    /// Reads. Nothing is found if there was no news for a while. Dropping the future withdraws it.
    pub(super) async fn read(self) -> Read {
        // Nothing is read for those who would only wait with it.
        self.outlet.beginning().await;
        let mut room = Room::new(&self.outlet, self.form);
        let mut read = self.read_with(&mut room).await;
        while room.is_short() && read.found.is_empty() {
            room = room.again();
            read = self.read_with(&mut room).await;
        }
        read.turn = room.into_turn();
        read
    }

    /// Reads with the room that there is.
    async fn read_with(&self, room: &mut Room) -> Read {
        let bytes_max = u64::from(self.front.answer_bytes(self.bytes_max));
        let partitions = self.places.iter().map(|place| FetchPartition {
            partition: place.at,
            offset: place.next,
            bytes_max,
        });
        let request = FetchRequest {
            partitions: partitions.collect(),
            bytes_max,
            bytes_min: 1,
            wait_max: WAIT,
            isolation: self.isolation,
        };
        let (results, hold) = self.front.read_in_turn(request, room).await;
        let mut found = Vec::new();
        let mut may_pass = false;
        for (place, result) in self.places.iter().zip(results) {
            let result = result.map_err(|(_, error)| error);
            if let Err(error) = &result
                && error.code().is_retriable()
            {
                may_pass = true;
                continue;
            }
            if let Ok(found) = &result
                && found.next_offset == place.next
            {
                continue;
            }
            let wanted = Wanted {
                topic: place.topic.to_string(),
                partition: place.at.partition.get(),
                from: place.next,
                form: self.form,
            };
            let answer = self.front.take_apart(wanted, result, room).await;
            if room.is_short() {
                break;
            }
            // One for whose records there is no memory now is left for the next time.
            if answer.data.error.is_some() || answer.data.next_offset != place.next.get() {
                found.push((place.clone(), answer));
            }
        }
        if found.is_empty() {
            drop(hold);
            room.give_back();
            if may_pass && !room.is_short() {
                self.front.parts.env.clock.sleep(RETRY_AFTER).await;
            }
            return Read::default();
        }
        Read {
            found,
            hold,
            turn: None,
        }
    }
}
