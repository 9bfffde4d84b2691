//! Logins at the cache: what is said about their files, and about an account on an open address.

use std::process::Command;

use super::{Machine, warnings};

/// A hash as `htpasswd -B` writes it.
const BCRYPT: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

impl Machine {
    /// Returns a file with a login on line 2, its own files in the folder.
    fn login(&self, auth: &str) -> String {
        let here = self.folder.path().display();
        let text = format!(
            "version: 0.1\n{auth}\nhttp: {{addr: 'localhost:80'}}\nstorage: {{filesystem: {{rootdirectory: /registry}}}}\n"
        );
        text.replace(": /", &format!(": {here}/"))
    }

    fn protect(&self, name: &str, mode: u32) {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(self.path(name), permissions).unwrap();
    }
}

#[test]
fn a_file_of_users_is_looked_at_line_by_line_and_never_printed() {
    let good = format!("# who may pull\n\nalice:{BCRYPT}\n");
    let md5 = "bob:$apr1$hunter2$8Nqqkwc8WPBzTPPPGsdFv.";
    for (content, problem, warning) in [
        (good.clone(), "", ""),
        (format!("{good}{md5}\n"), "", "line 4 is not bcrypt"),
        (
            format!("{good}{md5}\n{md5}\n"),
            "",
            "lines 4, 5 are not bcrypt",
        ),
        (format!("{md5}\n"), "holds no user with a bcrypt hash", ""),
        (
            format!("alice:{}\n", &BCRYPT[..59]),
            "holds no user with a bcrypt hash",
            "",
        ),
        (String::new(), "holds no user with a bcrypt hash", ""),
        (format!("{good}hunter2\n"), "line 4 is not user:hash", ""),
        (format!("{good}:{BCRYPT}\n"), "line 4 is not user:hash", ""),
    ] {
        let machine = Machine::new();
        machine.write("htpasswd", &content);
        machine.protect("htpasswd", 0o640);
        let text = machine.login("auth: {htpasswd: {realm: r, path: /htpasswd}}");
        let (problems, warnings) = match machine.load(&text) {
            Ok(effective) => (String::new(), warnings(&effective)),
            Err(failure) => (failure.to_string(), Vec::new()),
        };
        let said = format!("{problems}{warnings:?}");
        assert_eq!(problems.is_empty(), problem.is_empty(), "{said}");
        assert!(problems.contains(problem), "{said}");
        assert_eq!(warnings.is_empty(), warning.is_empty(), "{said}");
        assert!(said.contains(warning), "{said}");
        assert!(
            said == "[]" || said.contains(":2:35: auth.htpasswd.path: "),
            "{said}"
        );
        assert!(!said.contains("hunter2") && !said.contains(&BCRYPT[..10]));
    }
}

#[test]
fn a_file_of_users_that_everyone_can_read_is_a_warning() {
    let machine = Machine::new();
    machine.write("htpasswd", &format!("alice:{BCRYPT}\n"));
    machine.protect("htpasswd", 0o644);
    let text = machine.login("auth: {htpasswd: {realm: r, path: /htpasswd}}");
    let said = warnings(&machine.load(&text).unwrap());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("auth.htpasswd.path: every user of this machine can read"));
}

#[test]
fn files_of_keys_have_to_hold_keys() {
    let jwks = "{\"keys\": [{\"kty\": \"OKP\"}]}";
    for (content, told) in [
        (Some(jwks), ""),
        (Some("{\"keys\": []}"), "holds no key"),
        (
            Some("{\"key\": 1}"),
            "is not a JWK set: want {\"keys\": […]}",
        ),
        (Some("hunter2"), "is not JSON (line 1, column 1)"),
        (None, "No such file"),
    ] {
        let machine = Machine::new();
        if let Some(content) = content {
            machine.write("jwks", content);
        }
        let token = "auth: {token: {realm: https://t.example, service: s, issuer: i, jwks: /jwks}}";
        for (auth, place) in [
            (token, ":2:71: auth.token.jwks: "),
            (
                "transship: {access: {keys: /jwks}}",
                ":2:28: transship.access.keys: ",
            ),
        ] {
            match machine.load(&machine.login(auth)) {
                Ok(effective) => {
                    assert_eq!(told, "");
                    assert!(effective.warnings.is_empty(), "{:?}", effective.warnings);
                }
                Err(failure) => {
                    let said = failure.to_string();
                    assert!(!told.is_empty() && said.contains(told), "{said}");
                    assert!(said.contains(place) && !said.contains("hunter2"), "{said}");
                }
            }
        }
    }
}

#[test]
fn the_certificates_of_a_token_server_have_to_be_certificates() {
    let machine = Machine::new();
    let auth = "auth: {token: {realm: https://t.example, service: s, issuer: i, rootcertbundle: /certs/dtr-ca.pem}}";
    let effective = machine.load(&machine.login(auth)).unwrap();
    assert!(effective.warnings.is_empty(), "{:?}", effective.warnings);
    machine.write("certs/dtr-ca.pem", "no certificate");
    let said = machine.load(&machine.login(auth)).unwrap_err().to_string();
    assert!(
        said.contains(":2:81: auth.token.rootcertbundle: ")
            && said.contains("holds no PEM certificate"),
        "{said}"
    );
}

#[test]
fn an_account_on_an_open_address_keeps_the_program_from_starting() {
    let machine = Machine::new();
    let serve = Command::new(env!("CARGO_BIN_EXE_transship"))
        .arg("serve")
        .args(["--storage", &machine.path("registry").display().to_string()])
        .args(["--listen", "0.0.0.0:0", "--admin", "off"])
        .env_clear()
        .env("REGISTRY_PROXY_REMOTEURL", "https://r.example")
        .env("REGISTRY_PROXY_USERNAME", "u")
        .env("REGISTRY_PROXY_PASSWORD", "hunter2")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&serve.stderr);
    assert!(!serve.status.success(), "{said}");
    assert!(
        said.contains(
            "env REGISTRY_PROXY_USERNAME: proxy.username: whoever reaches http.addr (0.0.0.0:0)"
        ) && said.contains("have clients log in (auth), or set transship.access.shared: true"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}
