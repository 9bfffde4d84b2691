//! The line `end`: what is last in a cold blob, over a slow connection.

use super::*;

const WANTED: &str = "bytes=-1048576";

/// Time of the last MiB of a cold blob through the cache, against asking the origin over the same pipe.
pub(super) fn end(scale: &Scale) {
    println!(
        "\nend: the last 1 MiB of a cold blob of {}, the same pipe, {} runs",
        size(scale.end_bytes),
        scale.runs
    );
    let far = Far::shaped(scale.end_bytes);
    let (mut ours, mut direct, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.runs {
        let straight = pull(far.hop.addr, &far.blob, Some(WANTED)).total_ms;
        // The rest of the blob goes on coming behind it, until the cache is ended.
        let cache = Transship::behind(&[far.hop.url()], "").start();
        let through = pull(cache.addr, &far.blob, Some(WANTED)).total_ms;
        ratios.push(through / straight);
        direct.push(straight);
        ours.push(through);
    }
    row("the origin itself", "ms", &direct);
    row("transship", "ms", &ours);
    row("ratio", "", &ratios);
    verdict("within twice the origin's time", median(&ratios) <= 2.0);
}
