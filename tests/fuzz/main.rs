//! Fuzz targets: whatever bytes come from outside, readers give a right answer, an error, never a panic.
//!
//! Each target is a property (`check`) in a module of its own, a corpus of seeds in
//! `__fuzz__/<target>/corpus`, and a test here. `cargo test` gives it the seeds, mutants of them, and
//! random bytes, for seconds; `README.md` says how to go on for hours.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    unreachable_pub,
    missing_docs,
    reason = "a test fails by a panic"
)]

mod access;
mod body;
mod config;
mod mutants;
mod registry;
mod request;
mod response;
mod store;
mod upstream;
mod values;

/// Longest input, in bytes: some properties try every split, which takes the square of it.
const INPUT_BYTES_MAX: usize = 512;

/// Random inputs of one run; as many mutants are tried.
const ROUNDS: usize = 1000;

macro_rules! target {
    ($name:ident, $check:path, $dictionary:expr) => {
        #[test]
        fn $name() {
            #[cfg(not(fuzzing))]
            mutants::try_all(stringify!($name), $dictionary, $check);
            bolero::check!(name = stringify!($name))
                .with_max_len(INPUT_BYTES_MAX)
                .with_iterations(ROUNDS)
                .for_each(|input: &[u8]| $check(input));
        }
    };
}

target!(request_head, request::check, mutants::HTTP);
target!(chunked_body, body::check, mutants::CHUNKS);
target!(response_head, response::check, mutants::HTTP);
target!(upstream_head, upstream::check, mutants::HTTP);
target!(range, values::check_range, mutants::VALUES);
target!(content_range, values::check_content_range, mutants::VALUES);
target!(etag, values::check_etag, mutants::VALUES);
target!(trace, values::check_trace, mutants::VALUES);
target!(query, values::check_query, mutants::VALUES);
target!(route, registry::check_route, mutants::PATHS);
target!(name, registry::check_name, mutants::PATHS);
target!(digest, registry::check_digest, mutants::PATHS);
target!(challenge, registry::check_challenge, mutants::VALUES);
target!(next_page, registry::check_next_page, mutants::VALUES);
target!(media_type, registry::check_media_type, mutants::VALUES);
target!(config_file, config::check_file, mutants::YAML);
target!(token, access::check_token, mutants::TOKENS);
target!(key_set, access::check_key_set, mutants::TOKENS);
target!(passwords, access::check_passwords, mutants::TOKENS);
target!(authorization, access::check_authorization, mutants::TOKENS);
target!(scope, access::check_scope, mutants::TOKENS);
target!(links, store::check_links, mutants::TOKENS);
target!(index, store::check_index, mutants::TOKENS);
target!(tags, store::check_tags, mutants::TOKENS);
target!(kept, store::check_kept, mutants::TOKENS);
target!(pins, store::check_pins, mutants::PATHS);
target!(config_environment, config::check_environment, mutants::YAML);
