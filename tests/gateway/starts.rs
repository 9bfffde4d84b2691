//! It starts, and says what is missing.

use std::process::Command;

use crate::support::process::{output, run};
use crate::support::transship::BINARY;
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

#[test]
fn a_check_tells_what_it_would_start_with_and_no_secret() {
    let check = |backend: &str| {
        let mut command = Command::new(BINARY);
        command.args(["gateway", "--check", "--backend", backend]);
        command.env("REGISTRY_GATEWAY_USERNAME", "me");
        command.env("REGISTRY_GATEWAY_PASSWORD", "s3cret");
        command
    };
    let said = run(&mut check("https://registry.example"));
    let row = |key: &str| said.lines().find(|line| line.starts_with(key)).unwrap();
    assert!(row("gateway.backend").contains("https://registry.example"));
    assert!(row("gateway.token.life").contains("5m"));
    assert!(row("gateway.password").contains("(hidden)") && !said.contains("s3cret"));
    let failed = output(&mut check("registry.example"));
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stdout).contains("error: flag --backend: gateway.backend"));
}
