//! The proxy before a real registry: every test of distance stands on its faults and its counts.

use std::net::TcpStream;

use crate::support::{
    Blob, Client, DockerRegistry, FaultProxy, Gate, Harm, On, Reply, assert_same,
};

const SIZE: usize = 300_000;

struct Way {
    registry: DockerRegistry,
    proxy: FaultProxy,
}

impl Way {
    fn set() -> Self {
        let registry = DockerRegistry::start();
        let proxy = FaultProxy::before(registry.addr());
        Self { registry, proxy }
    }

    fn make(&self, seed: u64) -> Blob {
        let blob = Blob::seeded(seed, SIZE);
        self.registry.hold(&blob);
        blob
    }

    fn get(&self, blob: &Blob, range: &str) -> Reply {
        let fields = [("Range", range)];
        let fields = if range.is_empty() { &[][..] } else { &fields };
        Client::connect(self.proxy.addr).call("GET", &blob.path(), fields)
    }

    /// Spoils one answer and returns it.
    fn spoilt(&self, blob: &Blob, range: &str, harm: &Harm) -> Reply {
        self.proxy.harm(&On::blob(blob), 1, harm);
        self.get(blob, range)
    }
}

#[test]
fn the_proxy_passes_on_what_it_is_not_told_to_spoil_and_counts_it() {
    let way = Way::set();
    let blob = way.make(1);
    let mut client = Client::connect(way.proxy.addr);
    assert_eq!(client.get("/v2/").status(), 200);
    assert_eq!(client.call("HEAD", &blob.path(), &[]).status(), 200);
    let whole = client.get(&blob.path());
    assert_eq!(whole.status(), 200);
    assert_same(&whole.body, &blob.bytes);
    let range = client.call("GET", &blob.path(), &[("Range", "bytes=1000-1999")]);
    assert_eq!(range.status(), 206);
    assert_same(&range.body, &blob.bytes[1000..2000]);
    let asked = way.proxy.asked(&blob);
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[0].range(), asked[0].sent), (None, SIZE as u64));
    assert_eq!((asked[1].from(), asked[1].sent), (1000, 1000));
    assert_eq!(way.proxy.sent(&blob), SIZE as u64 + 1000);
    assert_eq!(client.get("/v2/none/blobs/sha256:0").status(), 400);
}

#[test]
fn the_proxy_ends_bodies_exactly_where_it_is_told() {
    let way = Way::set();
    let blob = way.make(2);
    let cut = way.spoilt(&blob, "", &Harm::none().cut(1000));
    assert_eq!((cut.whole, cut.body.len()), (false, 1000));
    assert_eq!(cut.head.length(), Some(SIZE as u64));
    assert!(!way.spoilt(&blob, "", &Harm::none().reset(1000)).whole);
    let long = way.spoilt(&blob, "", &Harm::none().claim_length(10));
    assert_eq!((long.whole, long.body.len()), (false, SIZE));
    let short = way.spoilt(&blob, "", &Harm::none().claim_length(-10));
    assert_eq!((short.whole, short.body.len()), (true, SIZE - 10));
    let flipped = way.spoilt(&blob, "bytes=100000-", &Harm::none().flip(70_000));
    assert_eq!(flipped.body[70_000], !blob.bytes[170_000]);
    assert_same(&flipped.body[70_001..], &blob.bytes[170_001..]);
    assert_same(&way.get(&blob, "").body, &blob.bytes);
}

#[test]
fn the_proxy_lies_about_ranges_as_it_is_told() {
    let way = Way::set();
    let blob = way.make(3);
    let of = |reply: &Reply| reply.field("content-range").map(str::to_owned);
    let ignored = way.spoilt(&blob, "bytes=1000-", &Harm::none().ignore_range());
    assert_eq!((ignored.status(), ignored.body.len()), (200, SIZE));
    let earlier = way.spoilt(&blob, "bytes=1000-", &Harm::none().begin_earlier(600));
    assert_eq!(of(&earlier).as_deref(), Some("bytes 400-299999/300000"));
    assert_same(&earlier.body, &blob.bytes[400..]);
    let more = way.spoilt(&blob, "bytes=1000-", &Harm::none().claim_total(1));
    assert_eq!(of(&more).as_deref(), Some("bytes 1000-299999/300001"));
    let silent = way.spoilt(&blob, "bytes=1000-", &Harm::none().without("content-range"));
    assert_eq!((silent.status(), of(&silent)), (206, None));
}

#[test]
fn the_proxy_answers_in_the_registrys_place_for_as_often_as_it_is_told() {
    let way = Way::set();
    let blob = way.make(4);
    let on = On::blob(&blob);
    let soon: &[(&str, &str)] = &[("Retry-After", "1")];
    way.proxy
        .harm(&on.clone().ranged(), 2, &Harm::status(429, soon));
    way.proxy
        .harm(&on.whole(), 1, &Harm::redirect("http://other", "key=1"));
    let moved = way.get(&blob, "");
    assert_eq!(moved.status(), 307);
    let location = format!("http://other{}?key=1", blob.path());
    assert_eq!(moved.field("location"), Some(&*location));
    for _ in 0..2 {
        let busy = way.get(&blob, "bytes=0-");
        assert_eq!((busy.status(), busy.field("retry-after")), (429, Some("1")));
    }
    assert_eq!(way.get(&blob, "bytes=0-").status(), 206);
    assert_same(&way.get(&blob, "").body, &blob.bytes);
}

#[test]
fn the_proxy_waits_at_its_gates_and_refuses_while_it_is_dead() {
    let way = Way::set();
    let blob = way.make(5);
    let gate = Gate::new();
    way.proxy
        .harm(&On::blob(&blob), 1, &Harm::none().wait_at(1000, &gate));
    let mut client = Client::connect(way.proxy.addr);
    client.ask("GET", &blob.path(), &[]);
    client.head();
    gate.reached();
    assert_eq!((way.proxy.sent(&blob), way.proxy.running(&blob)), (1000, 1));
    assert_same(&client.exactly(1000), &blob.bytes[..1000]);
    way.proxy.die();
    client.expect_close();
    for _ in 0..3 {
        assert!(TcpStream::connect(way.proxy.addr).is_err());
    }
    way.proxy.revive();
    assert_eq!(way.proxy.peak(), 1);
    // One that is at its gate, and one beside it.
    assert_same(&way.get(&blob, "").body, &blob.bytes);
    assert_eq!(way.proxy.peak(), 2);
}
