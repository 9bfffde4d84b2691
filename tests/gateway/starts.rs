//! It starts, and says what is missing.

use crate::support::{DockerRegistry, gateway::Gateway};

#[test]
fn it_starts_before_a_registry_and_ends_when_it_is_told() {
    let registry = DockerRegistry::start();
    let gateway = Gateway::before(registry.url()).start();
    assert_eq!(gateway.get("/healthz", None).status(), 200);
}

#[test]
fn without_a_backend_it_says_what_is_missing() {
    let failed = Gateway::before("").try_start().err().unwrap();
    assert!(failed.contains("gateway.backend"), "{failed}");
}
