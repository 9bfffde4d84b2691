//! The line `cold`: an image of many layers, absent and then there.

use super::*;

/// Time of a whole image, cold and hot, against docker-registry as a pull-through proxy.
pub(super) fn cold(scale: &Scale) {
    println!(
        "\nimage: {} × {} over {} connections, {} runs",
        scale.image.len(),
        size(scale.image[0]),
        scale.image_connections,
        scale.runs
    );
    let www = Www::new();
    let origin = Nginx::origin(&www);
    let paths: Vec<String> = (1u64..)
        .zip(&scale.image)
        .map(|(seed, &size)| www.add(&Blob::seeded(seed, size)))
        .collect();
    let bytes: usize = scale.image.iter().sum();
    let (mut cold, mut hot, mut cpu) = (Pair::default(), Pair::default(), Pair::default());
    let mut floor = Vec::new();
    for _ in 0..scale.runs {
        // What the machine can do at most, client included: nginx sends from its cache as we do.
        let nginx = Peer::start("nginx", &origin.url());
        pull(nginx.addr(), &paths, scale);
        floor.push(bytes as f64 / 1e3 / pull(nginx.addr(), &paths, scale));
        drop(nginx);
        for name in ["transship", "docker-registry"] {
            let peer = Peer::start(name, &origin.url());
            let rate = |times: f64| bytes as f64 / 1e6 / (times / 1000.0);
            let first = pull(peer.addr(), &paths, scale);
            // Once more without the clock: the peer stores in the background.
            pull(peer.addr(), &paths, scale);
            let before = cpu_seconds(peer.pid());
            let second = pull(peer.addr(), &paths, scale);
            let spent = (cpu_seconds(peer.pid()) - before).max(0.01);
            cold.push(name == "transship", rate(first));
            hot.push(name == "transship", rate(second));
            cpu.push(name == "transship", bytes as f64 / 1e9 / spent);
        }
    }
    cold.print_ratio("cold, MB/s", "docker-registry", 2.0);
    hot.print_ratio("hot, MB/s", "docker-registry", 4.0);
    println!("    {:16} {}", "nginx, beside", spread(&floor));
    cpu.print_ratio("hot, GB per CPU second", "docker-registry", 4.0);
}

/// Fetches all paths, each connection taking the next one that nobody has; returns ms. The bodies are
/// thrown away in the kernel: on two cores a client that copies them would be what is measured.
fn pull(addr: SocketAddr, paths: &[String], scale: &Scale) -> f64 {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..scale.image_connections {
            scope.spawn(|| {
                let mut client = Client::connect(addr);
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    client.ask("GET", path, &[]);
                    let head = client.head();
                    assert_eq!(head.status, 200);
                    assert!(client.discard(&head));
                }
            });
        }
    });
    ms(start)
}
