//! What configurations mean to a gateway.

use super::*;

fn gateway(more: &str) -> Result<Gateway, Failure> {
    let text =
        format!("{V}gateway:\n  backend: http://127.0.0.1:5000\n  state: /var/lib/x\n{more}");
    load_gateway(&sources(&text), SystemTime::UNIX_EPOCH)
}

#[test]
fn the_host_is_a_gateways_own_and_nothing_to_be_warned_of() {
    let read = gateway("http: {host: 'https://registry.example.org'}\n").unwrap();
    assert!(read.warnings.is_empty(), "{:?}", read.warnings);
    let host = read.options.host.unwrap();
    assert_eq!(host.as_str(), "https://registry.example.org/");
}

#[test]
fn keys_are_not_rotated_more_often_than_what_they_sign_ends() {
    for (tokens, holds) in [
        ("rotate: 5m", true),
        ("rotate: 0", true),
        ("rotate: 299s", false),
        ("rotate: 1h, life: 2h", false),
        ("rotate: 1h, urllife: 2h", false),
        ("rotate: 2s, life: 1s, urllife: 2s", true),
    ] {
        let read = gateway(&format!("  token: {{{tokens}}}\n"));
        match read {
            Ok(_) => assert!(holds, "{tokens}"),
            Err(failure) => {
                let told = failure.to_string();
                assert!(
                    !holds && told.contains("gateway.token.rotate: shorter"),
                    "{told}"
                );
            }
        }
    }
}
