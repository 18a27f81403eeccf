//! The known word that someone may have meant.

/// A word further away than this was not meant.
const DISTANCE_MAX: usize = 4;

/// The known word that is nearest to `word`, if any is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = DISTANCE_MAX.min(word.len() / 2);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or changed to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let change = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let known = ["produce.linger", "produce.flush_rate", "log.level"];
        assert_eq!(nearest("produce.lingre", known), Some("produce.linger"));
        assert_eq!(nearest("log.levl", known), Some("log.level"));
        assert_eq!(nearest("replication.factor", known), None);
        assert_eq!(nearest("", known), None);
    }
}
