//! The line `ranges`: a cold blob as containerd fetches it in parallel.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

const CONNECTIONS: usize = 8;

/// What eight connections, each asking `bytes=N-` and hanging up after a chunk, cost the origin.
pub(super) fn ranges(scale: &Scale) {
    println!(
        "\nranges: a cold blob of {} by {CONNECTIONS} connections, {} of each `bytes=N-`, {} runs",
        size(scale.ranges_bytes),
        size(scale.chunk_bytes),
        scale.runs
    );
    let far = Far::with(scale.ranges_bytes);
    let names = ["transship", "nginx", "docker-registry"];
    let mut figures = names.map(|_| (Vec::new(), Vec::new(), Vec::new()));
    for _ in 0..scale.runs {
        for (name, (cost, seconds, cpu)) in names.iter().zip(&mut figures) {
            let peer = Peer::start(name, &far.hop.url());
            let (sent, before) = (far.hop.sent(&far.blob), cpu_seconds(peer.pid()));
            seconds.push(fetch(peer.addr(), &far.blob, scale) / 1000.0);
            if let Peer::Transship(cache) = &peer {
                parties::settle(cache, 1);
            }
            cpu.push(cpu_seconds(peer.pid()) - before);
            let sent = far.hop.sent(&far.blob) - sent;
            cost.push(sent as f64 / scale.ranges_bytes as f64);
        }
    }
    for (name, (cost, seconds, cpu)) in names.iter().zip(&figures) {
        row(name, "origin bytes / blob bytes", cost);
        row("", "seconds", seconds);
        row("", "CPU seconds", cpu);
    }
    let [(ours, ..), ..] = &figures;
    verdict("origin bytes / blob bytes within 1.05", max(ours) <= 1.05);
}

/// Fetches all chunks, each connection the next one that nobody has; returns ms.
fn fetch(addr: SocketAddr, blob: &Blob, scale: &Scale) -> f64 {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst) * scale.chunk_bytes;
                    if at >= scale.ranges_bytes {
                        break;
                    }
                    let mut client = Client::connect(addr);
                    let range = format!("bytes={at}-");
                    client.ask("GET", &blob.path(), &[("Range", &range)]);
                    let head = client.head();
                    // Whoever answers all is read up to the chunk, as containerd would not.
                    let skip = if head.status == 206 { 0 } else { at };
                    let wanted = (skip + scale.chunk_bytes.min(scale.ranges_bytes - at)) as u64;
                    assert_eq!(client.read_up_to(wanted, &mut |_: &[u8]| {}), wanted);
                }
            });
        }
    });
    ms(start)
}
