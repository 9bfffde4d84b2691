//! The counters in Prometheus' text format.

use metrics::{Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::metrics::{Kind, Metrics};

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
    recorder.handle().render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::CacheUse;

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
