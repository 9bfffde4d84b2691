//! How figures are gathered and shown.

use std::fmt::Write as _;
use std::time::Instant;

/// Figures of the same thing, ours and a peer's, in the order of the runs.
#[derive(Default)]
pub struct Pair {
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
}

impl Pair {
    pub fn push(&mut self, is_ours: bool, figure: f64) {
        let side = if is_ours {
            &mut self.ours
        } else {
            &mut self.theirs
        };
        side.push(figure);
    }

    pub fn print(&self, title: &str, peer: &str) {
        println!("  {title}");
        println!("    {:16} {}", "transship", spread(&self.ours));
        println!("    {peer:16} {}", spread(&self.theirs));
    }

    /// Prints both and the ratio of each run to the peer's run beside it.
    pub fn print_ratio(&self, title: &str, peer: &str, wanted: f64) {
        self.print(title, peer);
        let runs = self.ours.iter().zip(&self.theirs);
        let ratios: Vec<f64> = runs.map(|(ours, theirs)| ours / theirs).collect();
        println!("    {:16} {}", "ratio", spread(&ratios));
        // 0 is for what is shown and not asked for.
        if wanted > 0.0 {
            verdict(
                &format!("ratio at least {wanted:.1}"),
                median(&ratios) >= wanted,
            );
        }
    }
}

pub fn verdict(what: &str, reached: bool) {
    println!(
        "    {} {what}",
        if reached { "reached:" } else { "MISSED: " }
    );
}

/// `min / median / max`.
pub fn spread(figures: &[f64]) -> String {
    let min = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let mut text = String::new();
    for figure in [min, median(figures), max(figures)] {
        let decimals = if figure < 100.0 { 2 } else { 0 };
        write!(text, "{figure:>12.decimals$}").unwrap();
    }
    text
}

pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

pub fn max(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(0.0, f64::max)
}

pub fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

pub fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}
