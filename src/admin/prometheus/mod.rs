//! The counters in Prometheus' text format.

pub(super) mod process;

use std::collections::HashMap;

use metrics::{Key, Label};
use metrics_exporter_prometheus::LabelSet;
use metrics_exporter_prometheus::formatting::{
    write_help_line, write_metric_line, write_type_line,
};

use crate::metrics::table::{Metric, Unit, rows};
use crate::metrics::{Histogram, Metrics, Sample};

/// Text exposition format 0.0.4.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders every number, in the order of the table: what belongs to one name must stand together.
pub(super) fn render(metrics: &Metrics) -> String {
    let mut samples: HashMap<_, Vec<_>> = HashMap::new();
    for sample in metrics.samples().into_iter().chain(process::samples()) {
        samples.entry(sample.name).or_default().push(sample);
    }
    let mut histograms: HashMap<_, Vec<_>> = HashMap::new();
    for histogram in metrics.histograms() {
        histograms
            .entry(histogram.name)
            .or_default()
            .push(histogram);
    }
    let mut page = String::new();
    for row in rows() {
        let samples = samples.remove(row.name).unwrap_or_default();
        let histograms = histograms.remove(row.name).unwrap_or_default();
        if samples.is_empty() && histograms.is_empty() {
            continue;
        }
        write_help_line(&mut page, row.name, None, None, row.help);
        write_type_line(&mut page, row.name, None, None, row.kind.word());
        for sample in samples {
            add_sample(&mut page, row, sample);
        }
        for histogram in histograms {
            add_histogram(&mut page, &histogram);
        }
    }
    page
}

fn add_sample(page: &mut String, row: &Metric, sample: Sample) {
    let labels = label_set(sample.name, sample.labels);
    let none = None::<(&str, &str)>;
    if row.unit == Unit::Milliseconds {
        let seconds = std::time::Duration::from_millis(sample.value).as_secs_f64();
        write_metric_line(page, sample.name, None, &labels, none, seconds, None);
    } else {
        write_metric_line(page, sample.name, None, &labels, none, sample.value, None);
    }
}

fn label_set(name: &'static str, labels: Vec<(&'static str, String)>) -> LabelSet {
    let labels: Vec<_> = labels
        .into_iter()
        .map(|(name, value)| Label::new(name, value))
        .collect();
    LabelSet::from_key_and_global(&Key::from_parts(name, labels), &Default::default())
}

/// They are counted already, in their own buckets.
fn add_histogram(page: &mut String, histogram: &Histogram) {
    let name = histogram.name;
    let labels = label_set(name, vec![histogram.label.clone()]);
    let bounds = histogram.bounds.iter();
    let bounds = bounds.map(|bound| bound.as_secs_f64().to_string());
    let mut count = 0;
    for (bound, more) in bounds.chain(["+Inf".to_owned()]).zip(&histogram.counts) {
        count += more;
        let (bucket, le) = (Some("bucket"), Some(("le", bound)));
        write_metric_line(page, name, bucket, &labels, le, count, None);
    }
    let none = None::<(&str, &str)>;
    let sum = histogram.sum.as_secs_f64();
    write_metric_line(page, name, Some("sum"), &labels, none, sum, None);
    write_metric_line(page, name, Some("count"), &labels, none, count, None);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{CacheUse, HopNumbers};

    #[test]
    fn a_histogram_is_one_to_prometheus() {
        let hop = std::sync::Arc::new(HopNumbers::new("a.example:5000/\""));
        for ms in [3, 70, 30_000] {
            hop.add_head_time(Duration::from_millis(ms));
        }
        let hops = [&hop, &hop].map(std::sync::Arc::clone);
        let page = render(&Metrics::new(1).with_hops(hops.into_iter()));
        let name = "transship_upstream_head_seconds";
        let upstream = "{upstream=\"a.example:5000/\\\"\"";
        for line in [
            format!("# TYPE {name} histogram"),
            format!("{name}_bucket{upstream},le=\"0.005\"}} 1"),
            format!("{name}_bucket{upstream},le=\"0.05\"}} 1"),
            format!("{name}_bucket{upstream},le=\"0.1\"}} 2"),
            format!("{name}_bucket{upstream},le=\"25\"}} 2"),
            format!("{name}_bucket{upstream},le=\"+Inf\"}} 3"),
            format!("{name}_sum{upstream}}} 30.073"),
            format!("{name}_count{upstream}}} 3"),
        ] {
            assert!(page.lines().any(|found| found == line), "{line}: {page}");
        }
        assert_eq!(page.matches(&format!("# TYPE {name} ")).count(), 1);
    }

    #[test]
    fn the_page_has_names_labels_and_help() {
        let metrics = Metrics::new(1);
        metrics.core(0).count_request(CacheUse::Hit, 206);
        metrics.core(0).client_bytes.add(7);
        let page = render(&metrics);
        assert!(
            page.contains(r#"transship_requests_total{cache="hit",status="206"} 1"#),
            "{page}"
        );
        assert!(page.contains("transship_client_bytes_total 7"), "{page}");
        assert!(page.contains("# HELP transship_connections "), "{page}");
        assert!(
            page.contains("# TYPE transship_connections gauge"),
            "{page}"
        );
        assert!(
            page.contains(r#"transship_fills_total{outcome="committed"} 0"#),
            "{page}"
        );
    }
}
