//! The judge of a history, one promise a function.

use std::collections::{BTreeMap, HashMap};

use super::conditions::check_conditions;
use super::report::{Kind, Report};
use super::{Append, Content, History, Outcome, Partition, Read};

/// What is known of the contents of one partition.
type Contents<'a> = BTreeMap<u64, &'a Content>;

/// Judges a history. Timeouts are indeterminate: such an append may be there or not.
pub fn check(history: &History) -> Report {
    let mut report = Report::default();
    count(history, &mut report);
    let mut partitions: BTreeMap<&Partition, (Vec<&Append>, Vec<&Read>)> = BTreeMap::new();
    for append in &history.appends {
        partitions
            .entry(&append.partition)
            .or_default()
            .0
            .push(append);
    }
    for read in &history.reads {
        partitions.entry(&read.partition).or_default().1.push(read);
    }
    for (partition, (appends, reads)) in &partitions {
        let view = View {
            partition,
            appends,
            reads,
            drain: history.drain,
        };
        let contents = view.contents(&mut report);
        view.check_twice(&contents, &mut report);
        view.check_lost(&contents, &mut report);
        view.check_origin(&contents, &mut report);
        view.check_drain(&mut report);
        view.check_readers(&mut report);
        view.check_send_order(&contents, &mut report);
        view.check_real_time(&mut report);
        check_conditions(partition, appends, &contents, &mut report);
    }
    report.violations.sort();
    report
}

fn count(history: &History, report: &mut Report) {
    for append in &history.appends {
        match append.outcome {
            Outcome::Acked { .. } => report.acked += append.records.len(),
            Outcome::Unknown => report.unknown += append.records.len(),
            Outcome::Refused => {}
        }
    }
}

/// One partition's part of the history.
struct View<'a> {
    partition: &'a Partition,
    appends: &'a [&'a Append],
    reads: &'a [&'a Read],
    drain: Option<u64>,
}

impl<'a> View<'a> {
    /// All that acknowledgements and reads say of offsets; what they say must agree.
    fn contents(&self, report: &mut Report) -> Contents<'a> {
        let mut contents = Contents::new();
        let acked = self
            .acked()
            .flat_map(|(append, base)| (base..).zip(&append.records));
        let read = self.reads.iter().flat_map(|read| &read.records);
        for (offset, content) in acked.chain(read.map(|(offset, content)| (*offset, content))) {
            let before = contents.insert(offset, content);
            if before.is_some_and(|before| before != content) {
                let detail = format!("offset {offset} has two contents");
                report.add(Kind::InconsistentOffset, self.partition, detail);
            }
        }
        contents
    }

    fn acked(&self) -> impl Iterator<Item = (&'a Append, u64)> + use<'a> {
        self.appends
            .iter()
            .filter_map(|append| match append.outcome {
                Outcome::Acked { base, .. } => Some((*append, base)),
                Outcome::Refused | Outcome::Unknown => None,
            })
    }

    /// No record lies at two offsets, unless its sender repeats without a sequence; then it is counted.
    fn check_twice(&self, contents: &Contents<'_>, report: &mut Report) {
        let repeatable: HashMap<&Content, bool> = self
            .appends
            .iter()
            .flat_map(|append| {
                append
                    .records
                    .iter()
                    .map(|content| (content, append.may_repeat))
            })
            .collect();
        let mut places: HashMap<&Content, u64> = HashMap::new();
        for (offset, content) in contents {
            let Some(first) = places.insert(*content, *offset) else {
                continue;
            };
            if repeatable.get(content).copied().unwrap_or_default() {
                report.repeats += 1;
            } else {
                let detail = format!("one record at offsets {first} and {offset}");
                report.add(Kind::Duplicate, self.partition, detail);
            }
        }
    }

    /// Every acknowledged record was read: by the end of the drain, and by whoever read past it.
    fn check_lost(&self, contents: &Contents<'_>, report: &mut Report) {
        let read: BTreeMap<u64, &Content> = self
            .reads
            .iter()
            .flat_map(|read| {
                read.records
                    .iter()
                    .map(|(offset, content)| (*offset, content))
            })
            .collect();
        let last = read.keys().next_back().copied();
        let watermark = self
            .reads
            .iter()
            .filter_map(|read| read.high_watermark)
            .max();
        let start = self
            .reads
            .iter()
            .filter_map(|read| read.log_start)
            .max()
            .unwrap_or(0);
        for (append, base) in self.acked() {
            let offsets = (base..).zip(&append.records);
            for (offset, _) in offsets.filter(|(offset, _)| *offset >= start) {
                if read.contains_key(&offset) {
                    continue;
                }
                let detail = format!(
                    "offset {offset} was acknowledged and never read; the last one read is \
                     {last:?}, the greatest high watermark {watermark:?}"
                );
                if last.is_some_and(|last| offset <= last) {
                    report.add(Kind::LostWrite, self.partition, detail);
                } else if self.drain.is_some() {
                    report.add(Kind::Unseen, self.partition, detail);
                }
            }
        }
        report.unknown_but_there += self.unknown_in(contents);
    }

    fn unknown_in(&self, contents: &Contents<'_>) -> usize {
        let there: std::collections::HashSet<&Content> = contents.values().copied().collect();
        self.appends
            .iter()
            .filter(|append| append.outcome == Outcome::Unknown)
            .flat_map(|append| &append.records)
            .filter(|content| there.contains(content))
            .count()
    }

    /// What was read had been sent, byte for byte, and had not been refused.
    fn check_origin(&self, contents: &Contents<'_>, report: &mut Report) {
        let mut refused: HashMap<&Content, bool> = HashMap::new();
        for append in self.appends {
            for content in &append.records {
                // A refused batch may be sent again under another offset and succeed.
                let all = refused.entry(content).or_insert(true);
                *all &= append.outcome == Outcome::Refused;
            }
        }
        for (offset, content) in contents {
            match refused.get(content) {
                Some(false) => {}
                Some(true) => {
                    let detail = format!("offset {offset} holds a record that was refused");
                    report.add(Kind::RefusedButThere, self.partition, detail);
                }
                None => {
                    let known = refused.keys().any(|sent| sent.key == content.key);
                    let kind = if known { Kind::Altered } else { Kind::Phantom };
                    let detail = format!("offset {offset} holds what nobody sent");
                    report.add(kind, self.partition, detail);
                }
            }
        }
    }

    /// The drain has every offset from the log start to the high watermark.
    fn check_drain(&self, report: &mut Report) {
        let mut expected: Option<u64> = None;
        for read in self
            .reads
            .iter()
            .filter(|read| Some(read.reader) == self.drain)
        {
            let start = expected.unwrap_or(read.from);
            let mut next = start;
            for (offset, _) in &read.records {
                if *offset != next {
                    let detail = format!("offset {next} is missing, {offset} comes instead");
                    report.add(Kind::Gap, self.partition, detail);
                }
                next = offset + 1;
            }
            if read.next != next {
                let detail = format!("nothing from {next} to {}", read.next);
                report.add(Kind::Gap, self.partition, detail);
            }
            expected = Some(read.next);
        }
    }

    /// Each reader goes on where it ended and never back.
    fn check_readers(&self, report: &mut Report) {
        let mut positions: HashMap<u64, u64> = HashMap::new();
        for read in self.reads {
            let position = positions.entry(read.reader).or_insert(read.from);
            let begin = read
                .records
                .first()
                .map_or(read.from, |(offset, _)| *offset);
            if read.from > *position || begin > *position {
                let detail = format!("from {position} to {}", read.from.max(begin));
                report.add(Kind::PollSkip, self.partition, detail);
            }
            let mut last = None;
            for (offset, _) in &read.records {
                if *offset < *position || last.is_some_and(|last| *offset <= last) {
                    let detail = format!("offset {offset} after {last:?}, position {position}");
                    report.add(Kind::NonmonotonicPoll, self.partition, detail);
                }
                last = Some(*offset);
            }
            *position = read.next.max(*position);
        }
    }

    /// Records of one sender stand in the order in which they were sent, and so do those of each key.
    fn check_send_order(&self, contents: &Contents<'_>, report: &mut Report) {
        let mut places: HashMap<&Content, u64> = HashMap::new();
        for (offset, content) in contents {
            places.entry(content).or_insert(*offset);
        }
        let mut senders: BTreeMap<u64, Vec<&Append>> = BTreeMap::new();
        for append in self.appends {
            senders.entry(append.sender).or_default().push(append);
        }
        for (sender, mut appends) in senders {
            appends.sort_by_key(|append| append.order);
            let sent = appends.iter().flat_map(|append| &append.records);
            let mut last = None;
            for offset in sent.filter_map(|content| places.get(content)) {
                if last.is_some_and(|last| *offset < last) {
                    let detail = format!("sender {sender}: offset {offset} sent after {last:?}");
                    report.add(Kind::NonmonotonicSend, self.partition, detail);
                }
                last = Some(*offset);
            }
        }
    }

    /// What was acknowledged or shown before a read began, the read shows.
    fn check_real_time(&self, report: &mut Report) {
        let acked = self
            .acked()
            .filter_map(|(append, base)| match append.outcome {
                Outcome::Acked { returned, .. } => {
                    Some((returned, base + append.records.len() as u64))
                }
                Outcome::Refused | Outcome::Unknown => None,
            });
        let acked = running_max(acked.collect());
        let seen = |of: fn(&Read) -> Option<u64>| {
            let pairs = self
                .reads
                .iter()
                .filter_map(|read| Some((read.returned, of(read)?)));
            running_max(pairs.collect())
        };
        let watermarks = seen(|read| read.high_watermark);
        let starts = seen(|read| read.log_start);
        for read in self.reads {
            if let Some(watermark) = read.high_watermark {
                if let Some(least) = before(&acked, read.invoked).filter(|it| watermark < *it) {
                    let detail = format!("high watermark {watermark} after an answer of {least}");
                    report.add(Kind::StaleRead, self.partition, detail);
                }
                if let Some(least) = before(&watermarks, read.invoked).filter(|it| watermark < *it)
                {
                    let detail = format!("{watermark} after {least}");
                    report.add(Kind::HighWatermarkRegressed, self.partition, detail);
                }
            }
            let start = read.log_start.zip(before(&starts, read.invoked));
            if let Some((start, least)) = start.filter(|(start, least)| start < least) {
                let detail = format!("{start} after {least}");
                report.add(Kind::LogStartRegressed, self.partition, detail);
            }
        }
    }
}

/// Pairs of moment and value, each value raised to the greatest so far.
fn running_max(mut pairs: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    pairs.sort_unstable();
    let mut most = 0;
    for pair in &mut pairs {
        most = most.max(pair.1);
        pair.1 = most;
    }
    pairs
}

/// The greatest value that was there before a moment.
fn before(pairs: &[(u64, u64)], moment: u64) -> Option<u64> {
    let count = pairs.partition_point(|(at, _)| *at < moment);
    count.checked_sub(1).map(|last| pairs[last].1)
}
