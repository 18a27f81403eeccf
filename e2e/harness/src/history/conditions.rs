//! Appends on a condition, and producers that were fenced.

use std::collections::{BTreeMap, HashMap};

use super::report::{Kind, Report};
use super::{Append, Content, Outcome, Partition};

/// Checks expected offsets, fencing tokens and producer epochs of one partition.
pub(super) fn check_conditions(
    partition: &Partition,
    appends: &[&Append],
    contents: &BTreeMap<u64, &Content>,
    report: &mut Report,
) {
    expected_offsets(partition, appends, report);
    fencing_tokens(partition, appends, contents, report);
    producer_epochs(partition, appends, report);
}

fn expected_offsets(partition: &Partition, appends: &[&Append], report: &mut Report) {
    for append in appends {
        let (
            Some(expected),
            Outcome::Acked {
                base,
                duplicate: false,
                ..
            },
        ) = (append.expected_next, append.outcome)
        else {
            continue;
        };
        if base != expected {
            let detail = format!("expected {expected}, appended at {base}");
            report.add(Kind::ConditionIgnored, partition, detail);
        }
    }
}

/// In the order of offsets the token that an append demanded is the one that was set last before it.
/// Appends whose outcome is unknown count if their records are in the log.
fn fencing_tokens(
    partition: &Partition,
    appends: &[&Append],
    contents: &BTreeMap<u64, &Content>,
    report: &mut Report,
) {
    let mut places: HashMap<&Content, u64> = HashMap::new();
    for (offset, content) in contents {
        places.entry(content).or_insert(*offset);
    }
    let mut effective: Vec<(u64, &Append)> = appends
        .iter()
        .filter_map(|append| match append.outcome {
            Outcome::Acked { base, .. } => Some((base, *append)),
            Outcome::Unknown => {
                let first = append.records.first()?;
                Some((*places.get(first)?, *append))
            }
            Outcome::Refused => None,
        })
        .collect();
    effective.sort_by_key(|(base, append)| (*base, append.records.len()));
    let mut token = String::new();
    for (base, append) in effective {
        if append
            .token
            .as_ref()
            .is_some_and(|demanded| *demanded != token)
        {
            let detail = format!("offset {base}: demanded {:?}, was `{token}`", append.token);
            report.add(Kind::TokenIgnored, partition, detail);
        }
        if let Some(set) = &append.set_token {
            token.clone_from(set);
        }
    }
}

/// Once a newer epoch has been acknowledged, an older one that is sent later must not be.
fn producer_epochs(partition: &Partition, appends: &[&Append], report: &mut Report) {
    let mut acked: HashMap<i64, Vec<(u64, i32)>> = HashMap::new();
    for append in appends {
        if let (Some(producer), Outcome::Acked { returned, .. }) = (append.producer, append.outcome)
        {
            acked
                .entry(producer.id)
                .or_default()
                .push((returned, producer.epoch));
        }
    }
    for append in appends {
        let (
            Some(producer),
            Outcome::Acked {
                base,
                duplicate: false,
                ..
            },
        ) = (append.producer, append.outcome)
        else {
            continue;
        };
        let newer = acked[&producer.id]
            .iter()
            .find(|(returned, epoch)| *returned < append.invoked && *epoch > producer.epoch);
        if let Some((_, newer)) = newer {
            let detail = format!("offset {base}: epoch {} after {newer}", producer.epoch);
            report.add(Kind::FencedProducerWrote, partition, detail);
        }
    }
}
