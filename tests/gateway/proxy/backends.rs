//! Backends that want a login, redirect, are away, or lead back.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::{Site, basic, before, call, code};
use crate::support::{Blob, Client, DockerRegistry, PATIENCE, Relay, Tls, assert_same};

const BLOB: &str = "/v2/test/a/blobs/";

#[test]
fn a_backend_that_wants_a_password_sees_the_gateways_own_and_no_clients() {
    let dir = TempDir::new().unwrap();
    let passwords = dir.path().join("htpasswd");
    let line = format!("gateway:{}\n", bcrypt::hash("s3cret", 4).unwrap());
    fs::write(&passwords, line).unwrap();
    let auth = format!(
        "auth:\n  htpasswd:\n    realm: r\n    path: {}\n",
        passwords.display()
    );
    let registry = DockerRegistry::start_with(&auth);
    let login = "  username: gateway\n  password: s3cret\n";
    let gateway = before(registry.url()).more(login).start();
    let site = Site { gateway, registry };
    // A body is the very first thing that is asked: it cannot be sent again after a 401.
    let blob = Blob::seeded(20, 200_000);
    let post = format!("/v2/test/a/blobs/uploads/?digest={}", blob.digest);
    let reply = site.call("alice", "POST", &post, &blob.bytes);
    assert!([201, 202].contains(&reply.status()), "{}", reply.text());
    site.upload("alice", "test/a", &blob);
    let got = site.call("bob", "GET", &format!("{BLOB}{}", blob.digest), b"");
    assert_same(&got.body, &blob.bytes);
    assert!(!site.gateway.process.log().contains("s3cret"));
    // Without a login, or with a wrong one, it is the gateway that has a problem.
    for more in ["", "  username: gateway\n  password: wrong\n"] {
        let gateway = before(site.registry.url()).more(more).start();
        let reply = call(&gateway, "bob", "GET", "/v2/test/a/tags/list", b"");
        assert_eq!(
            (reply.status(), reply.field("www-authenticate")),
            (502, None)
        );
    }
}

#[test]
fn a_backend_that_is_away_is_told_in_the_registrys_words() {
    let gateway = before("http://127.0.0.1:9").start();
    let path = format!("{BLOB}{}", Blob::seeded(1, 1).digest);
    for (method, path) in [
        ("GET", "/v2/test/a/manifests/v1"),
        ("GET", &*path),
        ("GET", "/v2/_catalog"),
        ("POST", "/v2/test/a/blobs/uploads/"),
    ] {
        let reply = call(&gateway, "alice", method, path, b"");
        assert_eq!((reply.status(), &*code(&reply)), (502, "UNKNOWN"), "{path}");
        assert!(!reply.text().contains("127.0.0.1"), "{}", reply.text());
    }
    assert_eq!(call(&gateway, "alice", "GET", "/v2/", b"").status(), 200);
    assert!(gateway.process.log().contains("the backend is away"));
}

#[test]
fn a_backend_that_leads_back_to_the_gateway_ends_in_508() {
    let relay = Relay::held();
    let gateway = before(relay.url()).start();
    relay.lead_to(gateway.addr);
    // What is public needs no login on the second way in.
    let reply = call(&gateway, "", "GET", "/v2/public/a/manifests/v1", b"");
    assert_eq!((reply.status(), &*code(&reply)), (508, "UNKNOWN"));
}

/// Takes one connection for each answer, reads a request's head and answers; returns the heads.
fn scripted(answers: Vec<Vec<u8>>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let heads = thread::spawn(move || {
        let answer = |answer: Vec<u8>| {
            let (mut socket, _) = listener.accept().unwrap();
            let head = head_of(&mut socket);
            socket.write_all(&answer).unwrap();
            head
        };
        answers.into_iter().map(answer).collect()
    });
    (addr, heads)
}

fn head_of(socket: &mut TcpStream) -> String {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn storage_that_the_backend_redirects_to_is_followed_without_credentials() {
    let blob = Blob::seeded(21, 100_000);
    let (storage, at_storage) = scripted(vec![answer("200 OK", "", &blob.bytes)]);
    let location = format!(
        "Location: http://localhost:{}/b?signature=x\r\n",
        storage.port()
    );
    let (backend, at_backend) = scripted(vec![
        answer(
            "401 Unauthorized",
            "WWW-Authenticate: Basic realm=r\r\n",
            b"",
        ),
        answer("307 Temporary Redirect", &location, b""),
    ]);
    let login = "  username: gateway\n  password: s3cret\n";
    let gateway = before(format!("http://{backend}")).more(login).start();
    let reply = call(
        &gateway,
        "bob",
        "GET",
        &format!("{BLOB}{}", blob.digest),
        b"",
    );
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_same(&reply.body, &blob.bytes);
    let at_backend = at_backend.join().unwrap();
    assert!(!at_backend[0].contains("authorization:"), "{at_backend:?}");
    // gateway:s3cret, and nothing of bob's.
    assert!(
        at_backend[1].contains("authorization: basic z2f0zxdhetpzm2nyzxq="),
        "{at_backend:?}"
    );
    let at_storage = at_storage.join().unwrap();
    assert!(
        at_storage[0].starts_with("get /b?signature=x "),
        "{at_storage:?}"
    );
    assert!(!at_storage[0].contains("authorization:"), "{at_storage:?}");
    let own = basic("bob").to_ascii_lowercase();
    assert!(!at_backend.concat().contains(&own));
}

#[test]
fn a_token_is_fetched_with_the_gateways_login_and_shown_until_it_ends() {
    let (realm, at_realm) = scripted(vec![answer(
        "200 OK",
        "",
        br#"{"token": "t0ken", "expires_in": 300}"#,
    )]);
    let challenge = format!(
        "WWW-Authenticate: Bearer realm=\"http://{realm}/token?x=1\",service=\"reg\",scope=\"repository:evil:pull\"\r\n"
    );
    let (backend, at_backend) = scripted(vec![
        answer("401 Unauthorized", &challenge, b""),
        answer("200 OK", "", b"{}"),
        answer("200 OK", "", b"{}"),
    ]);
    let login = "  username: gateway\n  password: s3cret\n";
    let gateway = before(format!("http://{backend}")).more(login).start();
    for _ in 0..2 {
        let reply = call(&gateway, "bob", "GET", "/v2/test/a/tags/list", b"");
        assert_eq!(reply.status(), 200, "{}", reply.text());
    }
    let at_realm = at_realm.join().unwrap();
    let asked = "get /token?x=1&service=reg&scope=repository%3atest%2fa%3apull ";
    assert!(at_realm[0].starts_with(asked), "{at_realm:?}");
    assert!(at_realm[0].contains("authorization: basic z2f0zxdhetpzm2nyzxq="));
    let at_backend = at_backend.join().unwrap();
    for head in &at_backend[1..] {
        assert!(head.contains("authorization: bearer t0ken"), "{head}");
    }
}

#[test]
fn errors_and_addresses_that_are_not_the_registrys_are_not_passed_on() {
    let upload = "Location: https://elsewhere.example/artifacts/1\r\n";
    let (backend, _heads) = scripted(vec![
        answer("500 Oops", "Content-Type: text/html\r\n", b"<h1>nginx</h1>"),
        answer(
            "404 Not Found",
            "Content-Type: text/html\r\nSet-Cookie: a=b\r\n",
            b"<h1>",
        ),
        answer("202 Accepted", upload, b""),
        answer(
            "404 Not Found",
            "Content-Type: application/json\r\nWWW-Authenticate: Basic\r\n",
            b"{}",
        ),
    ]);
    let gateway = before(format!("http://{backend}")).start();
    let manifest = "/v2/test/a/manifests/v1";
    let reply = call(&gateway, "bob", "GET", manifest, b"");
    assert_eq!((reply.status(), &*code(&reply)), (502, "UNKNOWN"));
    let reply = call(&gateway, "bob", "GET", manifest, b"");
    assert_eq!((reply.status(), &*code(&reply)), (404, "MANIFEST_UNKNOWN"));
    assert_eq!(reply.field("set-cookie"), None);
    let reply = call(&gateway, "alice", "POST", "/v2/test/a/blobs/uploads/", b"");
    assert_eq!((reply.status(), reply.field("location")), (502, None));
    let reply = call(&gateway, "bob", "GET", manifest, b"");
    assert_eq!((reply.status(), reply.body.as_slice()), (404, &b"{}"[..]));
    assert_eq!(reply.field("www-authenticate"), None);
}

#[test]
fn pages_of_the_backend_are_pages_here_and_the_query_is_passed() {
    let link = |at: &str| format!("Link: <{at}/v2/test/a/tags/list?last=v2&n=2>; rel=\"next\"\r\n");
    let (backend, heads) = scripted(vec![
        answer("200 OK", &link("http://registry.internal:5000"), b"{}"),
        answer("200 OK", "OCI-Filters-Applied: artifactType\r\n", b"{}"),
    ]);
    let gateway = before(format!("http://{backend}")).start();
    let tags = "/v2/test/a/tags/list?n=2&last=v0&ns=docker.io";
    let reply = call(&gateway, "bob", "GET", tags, b"");
    let next = "</v2/test/a/tags/list?last=v2&n=2>; rel=\"next\"";
    assert_eq!(reply.field("link"), Some(next));
    let digest = Blob::seeded(1, 1).digest;
    let referrers = format!("/v2/test/a/referrers/{digest}?artifactType=a%2Fb");
    let reply = call(&gateway, "bob", "GET", &referrers, b"");
    assert_eq!(reply.field("oci-filters-applied"), Some("artifactType"));
    let heads = heads.join().unwrap();
    assert!(
        heads[0].starts_with("get /v2/test/a/tags/list?n=2&last=v0 http"),
        "{heads:?}"
    );
    assert!(heads[1].contains("?artifacttype=a%2fb http"), "{heads:?}");
    assert!(heads[0].contains("via: 1.1 transship-"), "{heads:?}");
}

#[test]
fn a_catalog_of_many_pages_is_read_to_where_enough_was_found() {
    let page = |names: &[&str], next: Option<&str>| {
        let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let body = format!("{{\"repositories\": [{}]}}", names.join(","));
        let link = |next| format!("Link: </v2/_catalog?last={next}&n=100>; rel=\"next\"\r\n");
        answer(
            "200 OK",
            &next.map(link).unwrap_or_default(),
            body.as_bytes(),
        )
    };
    let (backend, heads) = scripted(vec![
        answer("400 Bad Request", "", b""),
        page(&["other/a", "../evil", "test/a"], Some("b")),
        page(&["other/b"], Some("c")),
        page(&["test/b", "test/c"], Some("d")),
    ]);
    let gateway = before(format!("http://{backend}")).start();
    let reply = call(&gateway, "bob", "GET", "/v2/_catalog?n=2&last=o", b"");
    assert_eq!(reply.text(), r#"{"repositories":["test/a","test/b"]}"#);
    let next = "</v2/_catalog?n=2&last=test%2Fb>; rel=\"next\"";
    assert_eq!(reply.field("link"), Some(next));
    let targets = heads.join().unwrap();
    let targets: Vec<_> = targets
        .iter()
        .map(|head| head.split(' ').nth(1).unwrap())
        .collect();
    let asked = [
        "n=1000&last=o",
        "n=100&last=o",
        "last=b&n=100",
        "last=c&n=100",
    ];
    assert_eq!(targets, asked.map(|query| format!("/v2/_catalog?{query}")));
}

#[test]
fn a_client_that_leaves_takes_its_question_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = before(format!("http://{}", listener.local_addr().unwrap())).start();
    let serving = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        head_of(&mut socket);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        // Until the other side has gone; one that only stops reading is a timeout.
        loop {
            if let Err(error) = socket.write_all(&[0; 65536]) {
                return error.kind();
            }
        }
    });
    let mut client = Client::connect(gateway.addr);
    let (login, path) = (basic("bob"), format!("{BLOB}{}", Blob::seeded(1, 1).digest));
    client.ask("GET", &path, &[("Authorization", &login)]);
    assert_eq!(client.head().status, 200);
    client.wait_for_byte();
    client.hang_up();
    let ended = serving.join().unwrap();
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    assert!([BrokenPipe, ConnectionReset].contains(&ended), "{ended}");
}

#[test]
fn an_answer_whose_end_cannot_be_told_is_none_and_one_in_chunks_is() {
    let (backend, _heads) = scripted(vec![
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf a bl".to_vec(),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec(),
    ]);
    let gateway = before(format!("http://{backend}")).start();
    let path = format!("{BLOB}{}", Blob::seeded(1, 1).digest);
    let get = || call(&gateway, "bob", "GET", &path, b"");
    assert_eq!(get().status(), 502);
    let cut = get();
    assert!(cut.status() == 200 && !cut.whole, "{:?}", cut.head);
    let got = get();
    assert!(got.status() == 200 && got.whole, "{:?}", got.head);
    assert_eq!(got.body, b"abc");
}

#[test]
fn a_backend_with_an_authority_of_its_own_is_believed_if_that_is_named() {
    let (tls, dir) = (Tls::new(), TempDir::new().unwrap());
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key) = (file("c.pem", &tls.certificate), file("k.pem", &tls.key));
    // It goes on where the settings of HTTP end.
    let more = format!("  tls:\n    certificate: {certificate}\n    key: {key}\n");
    let registry = DockerRegistry::start_with(&more);
    let url = format!("https://{}", registry.host);
    let cas = format!("  cas: [{}]\n", file("ca.pem", &tls.authority));
    let gateway = before(&*url).more(cas).start();
    let site = Site { gateway, registry };
    let manifest = site.push("alice", "test/a", "v1");
    let got = site.call("bob", "GET", "/v2/test/a/manifests/v1", b"");
    assert_same(&got.body, &manifest.bytes);
    let stranger = before(&*url).start();
    let refused = call(&stranger, "bob", "GET", "/v2/test/a/manifests/v1", b"");
    assert_eq!(refused.status(), 502);
    assert!(stranger.process.log().contains("certificate"));
}

#[test]
fn no_answer_is_a_page_whatever_the_backend_says_it_is() {
    let page = b"<script>alert(1)</script>";
    let (backend, _heads) = scripted(vec![answer("200 OK", "Content-Type: text/html\r\n", page)]);
    let gateway = before(format!("http://{backend}")).start();
    let got = call(&gateway, "bob", "GET", "/v2/test/a/manifests/v1", b"");
    assert_eq!(got.body, page);
    assert_eq!(got.field("x-content-type-options"), Some("nosniff"));
    let policy = got.field("content-security-policy").unwrap();
    let forbidden = ["default-src 'none'", "sandbox"].map(|word| policy.contains(word));
    assert_eq!(forbidden, [true; 2], "{policy}");
}

#[test]
fn an_answer_that_breaks_off_is_no_whole_one() {
    let whole = Blob::seeded(22, 100_000);
    let mut cut = answer("200 OK", "", &whole.bytes);
    cut.truncate(50_000);
    let (backend, _heads) = scripted(vec![cut]);
    let gateway = before(format!("http://{backend}")).start();
    let reply = call(
        &gateway,
        "bob",
        "GET",
        &format!("{BLOB}{}", whole.digest),
        b"",
    );
    assert!(reply.status() == 200 && !reply.whole, "{:?}", reply.head);
}
