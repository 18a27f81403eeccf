//! What a janitor is given to do.

use tidelog_api::internal::v1;
use tidelog_metadata_api::{DELETIONS_MAX, DeadSegment, Deletions, OrphanSearch};
use tidelog_types::{Incarnation, SegmentName, SegmentSequence, Timestamp};

use super::WireError;

pub(crate) fn deletions_to(deletions: &Deletions) -> v1::Deletions {
    let dead = deletions.dead.iter().map(|dead| v1::DeadSegment {
        incarnation: dead.segment.incarnation.get(),
        sequence: dead.segment.sequence.get(),
        dead_since: dead.dead_since.as_millis(),
        bytes: dead.bytes,
        in_store: dead.in_store,
    });
    let orphans = deletions.orphans.iter().map(|search| v1::OrphanSearch {
        incarnation: search.writer.get(),
        sequences: search.sequences.iter().map(|at| at.get()).collect(),
        below: search.below.get(),
        is_last: search.is_last,
        since: search.since.as_millis(),
    });
    v1::Deletions {
        dead: dead.collect(),
        orphans: orphans.collect(),
    }
}

pub(crate) fn deletions_from(deletions: Option<v1::Deletions>) -> Result<Deletions, WireError> {
    let v1::Deletions { dead, orphans } = deletions.ok_or(WireError::Missing("deletions"))?;
    few("dead", dead.len())?;
    few("orphans", orphans.len())?;
    let dead = dead.into_iter().map(|dead| DeadSegment {
        segment: SegmentName::new(
            Incarnation::new(dead.incarnation),
            SegmentSequence::new(dead.sequence),
        ),
        dead_since: Timestamp::from_millis(dead.dead_since),
        bytes: dead.bytes,
        in_store: dead.in_store,
    });
    let orphans = orphans.into_iter().map(|search| {
        few("sequences", search.sequences.len())?;
        let sequences = search.sequences.into_iter().map(SegmentSequence::new);
        Ok(OrphanSearch {
            writer: Incarnation::new(search.incarnation),
            sequences: sequences.collect(),
            below: SegmentSequence::new(search.below),
            is_last: search.is_last,
            since: Timestamp::from_millis(search.since),
        })
    });
    Ok(Deletions {
        dead: dead.collect(),
        orphans: orphans.collect::<Result<_, _>>()?,
    })
}

const fn few(field: &'static str, count: usize) -> Result<(), WireError> {
    if count > DELETIONS_MAX {
        let max = DELETIONS_MAX;
        return Err(WireError::TooLong { field, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deletions(sequences: u64) -> Deletions {
        Deletions {
            dead: vec![DeadSegment {
                segment: SegmentName::new(Incarnation::new(1), SegmentSequence::new(u64::MAX)),
                dead_since: Timestamp::from_millis(-3),
                bytes: 77,
                in_store: true,
            }],
            orphans: vec![OrphanSearch {
                writer: Incarnation::new(9),
                sequences: (0..sequences).map(SegmentSequence::new).collect(),
                below: SegmentSequence::new(sequences),
                is_last: true,
                since: Timestamp::from_millis(i64::MAX),
            }],
        }
    }

    #[test]
    fn work_comes_back_as_it_was_sent_and_too_much_of_it_is_refused() {
        let most = deletions(1_000);
        assert_eq!(deletions_from(Some(deletions_to(&most))), Ok(most));
        let too_much = deletions_from(Some(deletions_to(&deletions(1_001))));
        let field = "sequences";
        assert_eq!(too_much, Err(WireError::TooLong { field, max: 1_000 }));
        let mut many = deletions(0);
        many.dead = vec![many.dead[0]; 1_001];
        assert!(deletions_from(Some(deletions_to(&many))).is_err());
        assert!(deletions_from(None).is_err());
    }
}
