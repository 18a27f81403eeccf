//! Reads the text in which our own metrics are shown.
//!
//! The registry has one way out, its text; reading that back keeps `/metrics` and the export the same by
//! construction. The reader takes what the writer writes and passes over lines it does not understand.

use std::collections::BTreeMap;

/// A metric with all its label sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Family {
    /// Its name, without the suffixes of samples.
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) kind: Kind,
    /// Single values by label set.
    pub(crate) values: BTreeMap<Labels, f64>,
    /// Distributions by label set.
    pub(crate) histograms: BTreeMap<Labels, Histogram>,
}

/// Names and values of labels, in the order of the text.
pub(crate) type Labels = Vec<(String, String)>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Histogram,
    /// A gauge, or something that can be shown as one.
    #[default]
    Gauge,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram {
    pub(crate) sum: f64,
    pub(crate) count: u64,
    /// Upper bounds and how many values are at or below each; the last one is infinity.
    pub(crate) buckets: Vec<(f64, u64)>,
}

/// All families of the text.
pub(crate) fn parse(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            describe(&mut families, comment);
        } else if let (Some(family), Some(sample)) = (families.last_mut(), sample(line)) {
            family.take(sample);
        }
    }
    families
}

fn describe(families: &mut Vec<Family>, comment: &str) {
    let mut words = comment.splitn(3, ' ');
    let (Some(what), Some(name)) = (words.next(), words.next()) else {
        return;
    };
    let rest = words.next().unwrap_or_default();
    if families.last().is_none_or(|family| family.name != name) {
        families.push(Family {
            name: name.to_owned(),
            ..Family::default()
        });
    }
    let Some(family) = families.last_mut() else {
        return;
    };
    match what {
        "HELP" => rest.trim_end_matches('.').clone_into(&mut family.help),
        "UNIT" => rest.clone_into(&mut family.unit),
        "TYPE" => {
            family.kind = match rest {
                "counter" => Kind::Counter,
                "histogram" => Kind::Histogram,
                _ => Kind::Gauge,
            };
        }
        _ => {}
    }
}

struct Sample<'a> {
    name: &'a str,
    labels: Labels,
    value: f64,
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name,
        labels,
        value,
    })
}

/// The labels after an opening brace, and what follows the closing one.
fn labels(text: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((name.to_owned(), value));
        rest = after;
    }
}

/// A value up to its closing quote, without escapes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

impl Family {
    fn take(&mut self, mut sample: Sample<'_>) {
        let Some(suffix) = sample.name.strip_prefix(self.name.as_str()) else {
            return;
        };
        if self.kind != Kind::Histogram {
            self.values.insert(sample.labels, sample.value);
            return;
        }
        let bound = sample.labels.iter().position(|(name, _)| name == "le");
        let bound = bound.map(|at| sample.labels.remove(at).1);
        let histogram = self.histograms.entry(sample.labels).or_default();
        match (suffix, bound.as_deref().map(str::parse::<f64>)) {
            ("_sum", _) => histogram.sum = sample.value,
            ("_count", _) => histogram.count = whole(sample.value),
            ("_bucket", Some(Ok(bound))) => histogram.buckets.push((bound, whole(sample.value))),
            _ => {}
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count was written as a whole number; `as` saturates at both ends"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family as Families;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram as Distribution;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::render;

    #[test]
    fn what_the_registry_writes_is_read_back() {
        let mut registry = Registry::default();
        let puts = Families::<Vec<(&str, &str)>, Counter>::default();
        registry.register("puts", "Puts of objects", puts.clone());
        puts.get_or_create(&vec![("role", "broker")]).inc_by(7);
        let open: Gauge = Gauge::default();
        registry.register("open", "Open segments", open.clone());
        open.set(-2);
        let took = Distribution::new([0.5, 1.0]);
        registry.register("took_seconds", "How long it took", took.clone());
        for seconds in [0.25, 0.75, 8.0] {
            took.observe(seconds);
        }

        let families = parse(&render(&registry).unwrap());
        assert_eq!(families[0].kind, Kind::Counter);
        assert_eq!(families[0].help, "Puts of objects");
        let labels = vec![("role".to_owned(), "broker".to_owned())];
        assert_eq!(families[0].values, BTreeMap::from([(labels, 7.0)]));
        assert_eq!(families[1].values, BTreeMap::from([(Labels::new(), -2.0)]));
        let histogram = &families[2].histograms[&Labels::new()];
        assert_eq!((histogram.sum, histogram.count), (9.0, 3));
        assert_eq!(histogram.buckets[..2], [(0.5, 1), (1.0, 2)]);
        assert_eq!(histogram.buckets[2], (f64::INFINITY, 3));
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        for text in [
            "# TYPE",
            "x{",
            "x{a=\"",
            "x{a=\"b\"",
            "x y",
            "# TYPE x counter\nx{a=\"b\\",
            "",
        ] {
            assert!(
                parse(text).iter().all(|family| family.values.is_empty()),
                "{text}"
            );
        }
    }

    #[test]
    fn escapes_in_label_values_are_undone() {
        let families = parse("# TYPE x gauge\nx{a=\"q\\\"b\\\\c\\n,}\"} 1\n");
        let labels = families[0].values.keys().next().unwrap();
        assert_eq!(labels[0].1, "q\"b\\c\n,}");
    }
}
