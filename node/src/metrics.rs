//! Metrics of the process: what it is, since when it runs, what it uses.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts, Registry};
use tapehouse_core::clock::now_ms;

use crate::process::Usage;

/// Registers the metrics of this process.
///
/// # Errors
/// When they are registered already.
pub fn register(registry: &Registry) -> prometheus::Result<()> {
    let options = Opts::new("tapehouse_build_info", "Always 1; the labels say which build this is")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let build = Gauge::with_opts(options)?;
    build.set(1.0);
    registry.register(Box::new(build))?;
    let started = gauge("process_start_time_seconds", "When the process started")?;
    started.set(now_ms() as f64 / 1e3);
    registry.register(Box::new(started))?;
    registry.register(Box::new(ProcessCollector::new()?))
}

fn gauge(name: &str, help: &str) -> prometheus::Result<Gauge> {
    Gauge::new(format!("tapehouse_{name}"), help)
}

/// CPU and memory, asked of the kernel at each scrape; empty where there is no /proc.
struct ProcessCollector {
    cpu: Counter,
    resident: Gauge,
    peak: Gauge,
}

impl ProcessCollector {
    fn new() -> prometheus::Result<Self> {
        Ok(Self {
            cpu: Counter::new(
                "tapehouse_process_cpu_seconds_total",
                "User and system time of all threads",
            )?,
            resident: gauge("process_resident_memory_bytes", "Resident set")?,
            peak: gauge("process_peak_resident_memory_bytes", "Largest resident set so far")?,
        })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.cpu.desc(), self.resident.desc(), self.peak.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(usage) = Usage::now() else { return Vec::new() };
        // The kernel's counter never falls; two scrapes at once could compute a negative step.
        self.cpu.inc_by((usage.cpu_seconds - self.cpu.get()).max(0.0));
        self.resident.set(usage.rss_mib * f64::from(1 << 20));
        self.peak.set(usage.peak_rss_mib * f64::from(1 << 20));
        [self.cpu.collect(), self.resident.collect(), self.peak.collect()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_measured() {
        let registry = Registry::new();
        register(&registry).unwrap();
        let families = registry.gather();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name).unwrap();
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        assert_eq!(value("tapehouse_build_info"), 1.0);
        assert!(value("tapehouse_process_start_time_seconds") > 1.6e9);
        assert!(value("tapehouse_process_resident_memory_bytes") > 1e5);
        assert!(
            value("tapehouse_process_peak_resident_memory_bytes") >= value("tapehouse_process_resident_memory_bytes")
        );
    }
}
