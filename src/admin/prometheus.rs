//! The counters in Prometheus' text format.

use metrics::{Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::formatting::{
    write_help_line, write_metric_line, write_type_line,
};
use metrics_exporter_prometheus::{LabelSet, PrometheusBuilder};

use crate::metrics::{Histogram, Kind, Metrics};

/// Text exposition format 0.0.4.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// Renders every counter. A recorder lives for one page: the counters themselves stay with the cores.
pub(super) fn render(metrics: &Metrics) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    for sample in metrics.samples() {
        let labels: Vec<_> = sample
            .labels
            .into_iter()
            .map(|(name, value)| Label::new(name, value))
            .collect();
        let key = Key::from_parts(sample.name, labels);
        let unit = sample.name.contains("_bytes").then_some(Unit::Bytes);
        match sample.kind {
            Kind::Counter => {
                recorder.describe_counter(sample.name.into(), unit, sample.help.into());
                recorder
                    .register_counter(&key, &METADATA)
                    .absolute(sample.value);
            }
            Kind::Gauge => {
                recorder.describe_gauge(sample.name.into(), unit, sample.help.into());
                #[expect(clippy::cast_precision_loss, reason = "gauges are far below 2^52")]
                recorder
                    .register_gauge(&key, &METADATA)
                    .set(sample.value as f64);
            }
        }
    }
    let mut page = recorder.handle().render();
    add_histograms(&mut page, &metrics.histograms());
    page
}

/// The exporter counts into its own buckets, one value at a time; ours are counted already.
fn add_histograms(page: &mut String, histograms: &[Histogram]) {
    let mut described = "";
    for histogram in histograms {
        let name = histogram.name;
        if described != name {
            write_help_line(page, name, None, None, histogram.help);
            write_type_line(page, name, None, None, "histogram");
            described = name;
        }
        let label = Label::new(histogram.label.0, histogram.label.1.clone());
        let key = Key::from_parts(name, vec![label]);
        let labels = LabelSet::from_key_and_global(&key, &Default::default());
        let bounds = histogram.bounds.iter();
        let bounds = bounds.map(|bound| bound.as_secs_f64().to_string());
        let mut count = 0;
        for (bound, more) in bounds.chain(["+Inf".to_owned()]).zip(&histogram.counts) {
            count += more;
            let bucket = Some("bucket");
            write_metric_line(
                page,
                name,
                bucket,
                &labels,
                Some(("le", bound)),
                count,
                None,
            );
        }
        let none = None::<(&str, &str)>;
        let sum = histogram.sum.as_secs_f64();
        write_metric_line(page, name, Some("sum"), &labels, none, sum, None);
        write_metric_line(page, name, Some("count"), &labels, none, count, None);
    }
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
