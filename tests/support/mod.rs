//! What the tests stand on: processes, an origin that does as it is told, clients, content.

pub mod blob;
pub mod browser;
pub mod client;
pub mod disk;
pub mod fault_fs;
pub mod fault_proxy;
pub mod gateway;
pub mod image;
pub mod metrics;
pub mod origin;
pub mod process;
pub mod pull;
pub mod registry;
pub mod relay;
pub mod shared_fs;
pub mod shelf;
pub mod signer;
pub mod token_server;
pub mod transship;

pub use blob::{Blob, assert_same};
pub use browser::Browser;
pub use client::{Client, Reply};
pub use disk::{Cut, LoopDisk};
pub use fault_fs::{Fault, FaultFs, Op};
pub use fault_proxy::{FaultProxy, Harm, On};
pub use origin::{Gate, Origin, Plan, Tls};
pub use process::{PATIENCE, until};
pub use registry::DockerRegistry;
pub use relay::Relay;
pub use shelf::Shelf;
pub use signer::Signer;
pub use transship::Transship;

/// A scripted origin and a transship before it.
pub struct Rig {
    pub transship: Transship,
    pub origin: Origin,
}

impl Rig {
    pub fn start() -> Self {
        Self::with(Transship::options())
    }

    pub fn with(options: transship::Options) -> Self {
        let origin = Origin::start();
        let transship = options.upstream(origin.url()).start();
        Self { transship, origin }
    }

    /// Puts a blob of this size into the store and returns it.
    pub fn hit(&self, seed: u64, size: usize) -> Blob {
        let blob = self.origin.make(seed, size);
        let reply = self.transship.get(&blob.path());
        assert!(reply.whole, "the fill: {:?}", reply.head);
        self.expect_committed(1);
        blob
    }

    /// Checks that this many fills, and no more, have been committed.
    ///
    /// A client may have its last byte before the counter has moved: the counter is waited for.
    #[track_caller]
    pub fn expect_committed(&self, fills: u64) {
        self.transship
            .until_metric("transship_fills_total", &[("outcome", "committed")], fills);
        assert_eq!(self.committed(), fills);
    }

    fn committed(&self) -> u64 {
        let metrics = self.transship.metrics();
        metrics.sum("transship_fills_total", &[("outcome", "committed")])
    }

    /// Fills that ended in any other way.
    pub fn failed(&self) -> u64 {
        let metrics = self.transship.metrics();
        metrics.sum("transship_fills_total", &[]) - self.committed()
    }

    /// Asks for a blob whose fill must fail: the client sees no complete body, nothing is kept.
    #[track_caller]
    pub fn expect_broken(&self, blob: &Blob) -> Reply {
        let failed = self.failed();
        let reply = self.transship.get(&blob.path());
        // A fault that shows before the head is out may also be told outright.
        let told = reply.status() == 502;
        assert!(
            told || !reply.whole,
            "{} bytes came as whole",
            reply.body.len()
        );
        until("the fill has failed", || self.failed() > failed);
        assert!(
            !self.transship.stores(&blob.digest),
            "a broken fill is kept"
        );
        reply
    }

    /// As [`Rig::expect_broken`], of an origin that goes by `plan` for as long as that takes.
    #[track_caller]
    pub fn expect_broken_by(&self, blob: &Blob, plan: Plan) -> Reply {
        self.origin.plan_always(blob, Some(plan));
        let reply = self.expect_broken(blob);
        self.origin.plan_always(blob, None);
        reply
    }

    /// Asks for a blob that must come whole and equal.
    #[track_caller]
    pub fn expect_blob(&self, blob: &Blob) -> Reply {
        let reply = self.transship.get(&blob.path());
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert!(reply.whole, "only {} bytes came", reply.body.len());
        assert_same(&reply.body, &blob.bytes);
        reply
    }
}
