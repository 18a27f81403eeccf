//! Registration of metrics, whose names and help texts stay with those who count.

use prometheus_client::registry::{Metric, Registry};

/// Registers metrics of one type, each a name, its help and the metric, in the order given.
///
/// The registry holds clones, which share their numbers with what was handed in.
pub fn register_each<M: Metric + Clone>(
    registry: &mut Registry,
    metrics: &[(&'static str, &'static str, &M)],
) {
    for (name, help, metric) in metrics {
        registry.register(*name, *help, (*metric).clone());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn each_metric_is_exported_under_its_name_and_still_counts() {
        let (puts, gets) = (Counter::<u64>::default(), Counter::<u64>::default());
        let mut registry = Registry::default();
        let metrics = [
            ("puts", "objects put", &puts),
            ("gets", "objects got", &gets),
        ];
        register_each(&mut registry, &metrics);
        puts.inc_by(2);
        gets.inc_by(3);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert_eq!(
            text,
            "# HELP puts objects put.\n# TYPE puts counter\nputs_total 2\n\
             # HELP gets objects got.\n# TYPE gets counter\ngets_total 3\n# EOF\n"
        );
    }
}
