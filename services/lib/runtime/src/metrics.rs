//! Metrics that every process has: what it is, and what it uses of the machine.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// How metrics are served: the text format of `OpenMetrics`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Ticks of a second in which the kernel counts processor time, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Registers them. `zone` is a label of the build, so that it can be joined to any other metric.
pub fn register(registry: &mut Registry, version: &'static str, zone: &str) {
    let build = Info::new(vec![
        ("version", version.to_owned()),
        ("zone", zone.to_owned()),
    ]);
    registry.register("tidelog_build", "What this process is", build);
    registry.register_collector(Box::new(ProcessCollector));
}

/// All metrics as text.
pub fn render(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(text)
}

/// Reads what the kernel says of this process each time it is asked. Where there is no such kernel, it
/// says nothing.
#[derive(Debug)]
struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(bytes) = std::fs::read_to_string("/proc/self/status")
            .ok()
            .as_deref()
            .and_then(resident)
        {
            let gauge = ConstGauge::new(bytes);
            let name = "process_resident_memory_bytes";
            let help = "Memory of the process that is in RAM";
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        if let Some(seconds) = std::fs::read_to_string("/proc/self/stat")
            .ok()
            .as_deref()
            .and_then(processor)
        {
            let counter = ConstCounter::new(seconds);
            let help = "Processor time that the process has used";
            let name = "process_cpu_seconds";
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        if let Some(seconds) = started() {
            let gauge = ConstGauge::new(seconds);
            let name = "process_start_time_seconds";
            let help = "When the process was started, in seconds since 1970";
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            let gauge = ConstGauge::new(i64::try_from(entries.count()).unwrap_or(i64::MAX));
            let help = "Files and connections that the process has open";
            let name = "process_open_fds";
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// Resident bytes from the text of `/proc/self/status`.
fn resident(status: &str) -> Option<i64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Seconds of user and system time from the text of `/proc/self/stat`.
fn processor(stat: &str) -> Option<f64> {
    // The second field is the program's name in parentheses and may hold spaces.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

/// When this process was started.
fn started() -> Option<f64> {
    let machine = std::fs::read_to_string("/proc/stat").ok()?;
    let process = std::fs::read_to_string("/proc/self/stat").ok()?;
    started_of(&machine, &process)
}

/// The same from the texts of `/proc/stat` and `/proc/self/stat`.
fn started_of(machine: &str, process: &str) -> Option<f64> {
    let mut lines = machine.lines();
    let booted: u32 = lines
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    let (_, after_name) = process.rsplit_once(')')?;
    let ticks: f64 = after_name.split_whitespace().nth(19)?.parse().ok()?;
    Some(f64::from(booted) + ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_and_the_process_are_among_the_metrics() {
        let mut registry = Registry::default();
        register(&mut registry, "1.2.3", "zone-a");
        let text = render(&registry).unwrap();
        assert!(
            text.contains("tidelog_build_info{version=\"1.2.3\",zone=\"zone-a\"} 1"),
            "{text}"
        );
        if cfg!(target_os = "linux") {
            for name in [
                "process_resident_memory_bytes ",
                "process_cpu_seconds_total ",
                "process_open_fds ",
                "process_start_time_seconds ",
            ] {
                assert!(text.contains(&format!("\n{name}")), "{name} in {text}");
            }
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_the_kernel_says_is_read_and_nonsense_is_not() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t  1024 kB\n"), Some(1 << 20));
        assert_eq!(resident("VmRSS: many"), None);
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(processor(stat), Some(2.0));
        assert_eq!(processor("7 (a"), None);
        let machine = "cpu 1 2\nbtime 1700000000\nprocesses 3\n";
        let process = format!("7 (a) b) S {}250 4", "0 ".repeat(18));
        assert_eq!(started_of(machine, &process), Some(1_700_000_002.5));
        assert_eq!(started_of("cpu 1\n", &process), None);
        assert_eq!(started_of(machine, "7 (a) S 1"), None);
    }
}
