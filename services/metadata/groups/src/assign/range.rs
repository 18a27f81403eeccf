//! A range of each topic's partitions to each member.

use std::collections::BTreeMap;

use super::{Partitions, Question, partitions};

pub(super) fn assign(question: &Question<'_>) -> BTreeMap<String, Partitions> {
    let ids = question.members.keys();
    let mut answer: BTreeMap<String, Partitions> = ids
        .map(|id| ((*id).to_owned(), Partitions::new()))
        .collect();
    for (&topic, &count) in &question.topics {
        let mut members = question.subscribers(topic);
        // A static member keeps its place when it comes back under another id.
        members.sort_by_key(|id| {
            let wanted = question.members.get(id);
            let instance = wanted.and_then(|wanted| wanted.instance);
            (instance.is_none(), instance.unwrap_or(id), *id)
        });
        let Ok(divisor) = u32::try_from(members.len()) else {
            continue;
        };
        let (Some(share), Some(rest)) = (count.checked_div(divisor), count.checked_rem(divisor))
        else {
            continue;
        };
        let mut all = partitions(topic, count);
        for (place, id) in (0..).zip(members) {
            let size = share + u32::from(place < rest);
            let range = all.by_ref().take(usize::try_from(size).unwrap_or_default());
            answer.entry(id.to_owned()).or_default().extend(range);
        }
    }
    answer
}
