//! What processes cost: CPU and memory, as the kernel counts them.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::report::float;

/// Bytes of a gigabyte, as in rates.
const GB: f64 = 1e9;
/// Above this share of all cores, it is the cores that are the bound.
const CORES_BOUND: f64 = 0.9;

/// When others take more than this share of all cores, what was measured is not ours alone.
const OTHERS_MAX: f64 = 0.15;

/// Cores that all processes share.
pub(crate) fn cores() -> Result<f64> {
    Ok(float(std::thread::available_parallelism()?.get() as u64))
}

/// Watches what some processes use from now on.
#[derive(Debug)]
pub(crate) struct Meter {
    processes: Vec<(&'static str, u32, f64)>,
    machine: f64,
    start: Instant,
}

impl Meter {
    /// Watches processes, each with the role it has in the report.
    pub(crate) fn start(processes: &[(&'static str, u32)]) -> Result<Self> {
        let processes = processes
            .iter()
            .map(|(role, id)| Ok((*role, *id, cpu_seconds(*id)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            processes,
            machine: machine_seconds()?,
            start: Instant::now(),
        })
    }

    /// What they have used to move so many bytes.
    pub(crate) fn cost(&self, bytes: u64) -> Result<Cost> {
        let seconds = self.start.elapsed().as_secs_f64();
        let gigabytes = float(bytes.max(1)) / GB;
        let mut roles = Vec::new();
        for (role, id, before) in &self.processes {
            roles.push((*role, (cpu_seconds(*id)? - before) / gigabytes));
        }
        let total: f64 = roles.iter().map(|(_, cost)| cost).sum();
        let busy = total * gigabytes / seconds;
        let machine = (machine_seconds()? - self.machine) / seconds;
        Ok(Cost {
            busy,
            others: (machine - busy).max(0.0),
            roles,
            total,
        })
    }
}

/// CPU seconds per GB.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    /// Of each process.
    pub(crate) roles: Vec<(&'static str, f64)>,
    /// Of all.
    pub(crate) total: f64,
    /// Cores that were busy with it.
    pub(crate) busy: f64,
    /// Cores that were busy with anything else, the kernel's own work for the disk included.
    pub(crate) others: f64,
}

impl Cost {
    /// The best rate that the cores allow, in bytes a second, and no better than `raw`.
    pub(crate) fn ceiling(&self, raw: f64, cores: f64) -> f64 {
        raw.min(cores * GB / self.total.max(1e-9))
    }

    /// What kept it from being faster.
    pub(crate) fn bound(&self, cores: f64) -> String {
        let share = |busy: f64| 100.0 * busy / cores;
        if self.busy + self.others < CORES_BOUND * cores {
            return format!("waiting ({:.0} % of the cores were busy)", share(self.busy));
        }
        if self.others > OTHERS_MAX * cores {
            let others = share(self.others);
            return format!("the cores, of which strangers took {others:.0} %: do not trust this");
        }
        let most = self.roles.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        most.map_or_else(String::new, |(role, cost)| {
            let share = 100.0 * cost / self.total.max(1e-9);
            format!("the cores, of which the {role} took {share:.0} %")
        })
    }
}

/// CPU time that a process has used, in user and kernel mode.
pub(crate) fn cpu_seconds(id: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))
        .with_context(|| format!("process `{id}` is gone"))?;
    let ticks = ticks(&text).context("the kernel's line about a process has no times")?;
    Ok(float(ticks) / float(rustix::param::clock_ticks_per_second()))
}

/// CPU time of all processes that this one has started and that have ended.
pub(crate) fn children_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let ticks = children_ticks(&text).context("the kernel's line about us has no times")?;
    Ok(float(ticks) / float(rustix::param::clock_ticks_per_second()))
}

/// The fields `cutime` and `cstime`.
fn children_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(13);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The fields `utime` and `stime`. The name before them may hold blanks and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// CPU time that the whole machine has used since it was started, waiting left out.
fn machine_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat").context("the kernel tells no times")?;
    let ticks = machine_ticks(&text).context("the kernel's line about the machine has no times")?;
    Ok(float(ticks) / float(rustix::param::clock_ticks_per_second()))
}

/// User, nice, system, and after idle and waiting for disks the two kinds of interrupts.
fn machine_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<u64> = stat
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))?
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let busy = fields.get(..3)?.iter().chain(fields.get(5..7)?);
    Some(busy.sum())
}

/// The most memory that a process has had resident, in bytes.
pub(crate) fn resident_peak(id: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/status"))
        .with_context(|| format!("process `{id}` is gone"))?;
    kib(&text, "VmHWM:").context("the kernel does not tell a process's memory")
}

/// How much dirty memory the kernel holds back before it makes writers wait, in bytes.
pub(crate) fn dirty_limit() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    let pages: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("nr_dirty_threshold "))?
        .trim()
        .parse()
        .ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(number * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn the_machine_is_busy_but_for_idle_and_waiting() {
        assert_eq!(
            machine_ticks("cpu  1 2 4 100 100 8 16 0 0 0\ncpu0 9"),
            Some(31)
        );
        assert_eq!(machine_ticks("cpu  1 2"), None);
        assert!(machine_seconds().unwrap() > 0.0);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        assert_eq!(
            kib("VmPeak: 9 kB\nVmHWM:\t   12 kB\n", "VmHWM:"),
            Some(12 * 1024)
        );
        assert!(resident_peak(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn the_ceiling_is_the_raw_rate_until_the_cores_are_used_up() {
        let cost = Cost {
            roles: vec![("server", 1.0), ("client", 3.0)],
            total: 4.0,
            busy: 2.0,
            others: 0.0,
        };
        let near = |a: f64, b: f64| (a - b).abs() < 1.0;
        assert!(near(cost.ceiling(4e8, 2.0), 4e8));
        assert!(near(cost.ceiling(9e8, 2.0), 5e8));
        assert!(cost.bound(2.0).contains("client took 75 %"));
        assert!(cost.bound(4.0).starts_with("waiting"));
        let disturbed = Cost {
            others: 1.9,
            ..cost
        };
        assert!(disturbed.bound(4.0).contains("do not trust"));
    }
}
