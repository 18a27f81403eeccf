//! Who lives, as far as this process can tell: by beats that change, on its own monotonic clock. No two
//! clocks are compared.

use std::collections::HashMap;
use std::time::Duration;

use tidelog_env::MonoTime;
use tidelog_types::MemberId;

/// When a beat was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadAt {
    /// Before the read began.
    pub(crate) begun: MonoTime,
    /// After it ended.
    pub(crate) ended: MonoTime,
}

/// What was seen last of a member.
#[derive(Clone, Copy, Debug)]
struct Seen {
    session: u64,
    beat: u64,
    /// After the read that saw this beat for the first time.
    since: MonoTime,
    /// Before the last read, which saw it still.
    until: MonoTime,
    /// Whether nobody listens any more where the member did, although its beat had stood still.
    is_refused: bool,
}

impl Seen {
    fn silence(&self) -> Duration {
        self.until.saturating_since(self.since)
    }

    fn lives(&self, lease: Duration) -> bool {
        self.silence() < lease && !self.is_refused
    }
}

/// A beat that has stood still for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silent {
    pub(crate) member: MemberId,
    session: u64,
    beat: u64,
}

/// The members that beat.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    seen: HashMap<MemberId, Seen>,
    /// After the last read.
    read_at: MonoTime,
}

impl Lives {
    /// Takes note of all beats of one read; members that are not in it are forgotten.
    ///
    /// After a time in which this process has read nothing, for it was stopped or the store was away, all count
    /// anew: nothing was learnt of the others, and where the store was away they could not beat.
    pub(crate) fn read(
        &mut self,
        at: ReadAt,
        lease: Duration,
        beats: impl IntoIterator<Item = (MemberId, u64, u64)>,
    ) {
        let was_blind = at.begun.saturating_since(self.read_at) > lease / 2;
        let mut seen = HashMap::new();
        for (member, session, beat) in beats {
            let before = self.seen.get(&member);
            let same = before.filter(|seen| seen.session == session && seen.beat == beat);
            let counted = same.filter(|_| !was_blind);
            let now = Seen {
                session,
                beat,
                since: counted.map_or(at.ended, |seen| seen.since),
                until: at.begun,
                is_refused: same.is_some_and(|seen| seen.is_refused),
            };
            seen.insert(member, now);
        }
        self.seen = seen;
        self.read_at = at.ended;
    }

    /// Whether a member has shown a beat, and not always the same for as long as a lease. One that was
    /// seen for the first time may live.
    pub(crate) fn lives(&self, member: MemberId, lease: Duration) -> bool {
        let seen = self.seen.get(&member);
        seen.is_some_and(|seen| seen.lives(lease))
    }

    /// The first moment at which a read can show that one of these members is dead.
    pub(crate) fn next_death(
        &self,
        lease: Duration,
        is_asked: impl Fn(MemberId) -> bool,
    ) -> Option<MonoTime> {
        let seen = self.seen.iter();
        let asked = seen.filter(|(member, seen)| is_asked(**member) && seen.lives(lease));
        asked.map(|(_, seen)| seen.since + lease).min()
    }

    /// The first moment at which a read can show that one of these members has been silent for so long.
    pub(crate) fn next_silence(
        &self,
        silence: Duration,
        is_asked: impl Fn(MemberId) -> bool,
    ) -> Option<MonoTime> {
        let seen = self.seen.iter();
        let asked = seen.filter(|(member, seen)| is_asked(**member) && seen.silence() < silence);
        asked.map(|(_, seen)| seen.since + silence).min()
    }

    /// The members that have been silent for so long and are not known to be dead.
    pub(crate) fn silent(&self, lease: Duration, silence: Duration) -> Vec<Silent> {
        let seen = self.seen.iter();
        let silent = seen.filter(|(_, seen)| seen.lives(lease) && seen.silence() >= silence);
        let silent = silent.map(|(member, seen)| Silent {
            member: *member,
            session: seen.session,
            beat: seen.beat,
        });
        silent.collect()
    }

    /// Takes note that nobody listens any more where a silent member did: it is dead, unless it has beaten since.
    pub(crate) fn refuse(&mut self, silent: Silent) {
        if let Some(seen) = self.seen.get_mut(&silent.member)
            && (seen.session, seen.beat) == (silent.session, silent.beat)
        {
            seen.is_refused = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(2_500);

    fn member(number: u8) -> MemberId {
        MemberId::from_bytes([number; 16])
    }

    fn at(millis: u64) -> MonoTime {
        MonoTime::START + Duration::from_millis(millis)
    }

    fn read(lives: &mut Lives, millis: u64, beat: u64) {
        let at = ReadAt {
            begun: at(millis),
            ended: at(millis + 10),
        };
        lives.read(at, LEASE, [(member(1), 1, beat)]);
    }

    #[test]
    fn a_member_is_dead_when_its_beat_was_the_same_for_a_lease() {
        let mut lives = Lives::default();
        assert!(!lives.lives(member(1), LEASE));
        for millis in [0, 1_000, 2_000, 2_509] {
            read(&mut lives, millis, 5);
        }
        assert!(lives.lives(member(1), LEASE));
        assert_eq!(lives.next_death(LEASE, |_| true), Some(at(2_510)));
        assert_eq!(lives.next_death(LEASE, |asked| asked == member(2)), None);
        read(&mut lives, 2_510, 5);
        assert!(!lives.lives(member(1), LEASE));
        assert_eq!(lives.next_death(LEASE, |_| true), None);
        read(&mut lives, 2_600, 6);
        assert!(lives.lives(member(1), LEASE), "it was only slow");
    }

    /// A process that was paused, or whose store was, has learnt nothing of the others meanwhile.
    #[test]
    fn time_in_which_nothing_was_read_kills_nobody_who_goes_on() {
        let mut lives = Lives::default();
        read(&mut lives, 0, 5);
        read(&mut lives, 60_000, 6);
        assert!(lives.lives(member(1), LEASE));
        let slow = ReadAt {
            begun: at(60_020),
            ended: at(90_000),
        };
        lives.read(slow, LEASE, [(member(1), 1, 6)]);
        assert!(lives.lives(member(1), LEASE));
    }

    /// Nor is there a beat to be seen right after the store was away.
    #[test]
    fn time_in_which_nothing_was_read_is_no_silence() {
        let mut lives = Lives::default();
        read(&mut lives, 0, 5);
        read(&mut lives, 60_000, 5);
        assert!(lives.lives(member(1), LEASE));
        for millis in [61_000, 62_000, 62_500] {
            read(&mut lives, millis, 5);
        }
        assert!(lives.lives(member(1), LEASE));
        read(&mut lives, 62_510, 5);
        assert!(!lives.lives(member(1), LEASE));
    }

    #[test]
    fn a_silent_member_that_nobody_hears_is_dead_until_it_beats() {
        const SOON: Duration = Duration::from_millis(600);
        let mut lives = Lives::default();
        read(&mut lives, 0, 5);
        read(&mut lives, 500, 5);
        assert_eq!(lives.silent(LEASE, SOON), []);
        read(&mut lives, 700, 5);
        let [silent] = lives.silent(LEASE, SOON)[..] else {
            panic!("it is silent");
        };
        lives.refuse(silent);
        assert!(!lives.lives(member(1), LEASE));
        assert_eq!(lives.silent(LEASE, SOON), []);
        read(&mut lives, 1_000, 5);
        assert!(!lives.lives(member(1), LEASE), "it stays so");
        read(&mut lives, 1_300, 6);
        assert!(lives.lives(member(1), LEASE));
        lives.refuse(silent);
        assert!(lives.lives(member(1), LEASE), "that was before its beat");
    }

    #[test]
    fn a_new_run_under_the_same_beat_is_news() {
        let mut lives = Lives::default();
        read(&mut lives, 0, 1);
        let later = ReadAt {
            begun: at(3_000),
            ended: at(3_000),
        };
        lives.read(later, LEASE, [(member(1), 2, 1)]);
        assert!(lives.lives(member(1), LEASE));
        lives.read(later, LEASE, []);
        assert!(!lives.lives(member(1), LEASE), "its row has gone");
    }
}
