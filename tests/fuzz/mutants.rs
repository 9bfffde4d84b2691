//! Mutants of the seeds, the same in every run: what finds faults without watching the code's coverage.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use crate::{INPUT_BYTES_MAX, ROUNDS};

/// Words that mean something to a reader; single bytes come by themselves.
pub type Dictionary = &'static [&'static str];

pub const HTTP: Dictionary = &[
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    ":",
    "\r\n ",
    "\r\n\r\n",
    "HTTP/1.1",
    "HTTP/1.0",
    "GET ",
    "HEAD ",
    "Host: a\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: +5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding : chunked\r\n",
    "Connection: close\r\n",
    "Expect: 100-continue\r\n",
    "chunked",
    "http://a",
    "[::1]",
    "?",
    "%2f",
    "%",
    "#",
    "*",
    "\u{e9}",
    "\u{b}",
    "\u{7f}",
    "200 OK",
    "204",
    "100",
];

pub const TOKENS: Dictionary = &[
    ".",
    "..",
    "eyJhbGciOiJub25lIn0",
    "eyJhbGciOiJIUzI1NiJ9",
    "{}",
    "[]",
    "\"",
    ",",
    "\"kid\":\"a\"",
    "\"alg\":\"none\"",
    "\"kty\":\"oct\",\"k\":\"AA\"",
    "\"d\":\"AA\"",
    "$2y$05$",
    ":",
    "\n",
    "Basic ",
    "Bearer ",
    "=",
    "sha256:",
    "transship links 1\n",
    "transship links 2\n",
    "a/b",
    "../",
    " - ",
];

pub const CHUNKS: Dictionary = &[
    "\r\n",
    "\n",
    "\r",
    "0",
    "0\r\n",
    "0\r\n\r\n",
    "1\r\nx\r\n",
    "f",
    "F",
    ";a=b",
    ";",
    " ",
    "\t",
    "a: b\r\n",
    ":",
    "fffffffffffffff",
    "\0",
    "\u{1}",
];

pub const VALUES: Dictionary = &[
    "bytes=",
    "-",
    ",",
    ", ",
    "0-",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "\"",
    "\\",
    "\\\"",
    "W/",
    "*",
    "&",
    "=",
    "+",
    "%",
    "%00",
    "%0d%0a",
    "%c3%a9",
    "%ff",
    "ns=",
    "n=",
    "last=",
    ";",
    "<",
    ">",
    "/",
    "//",
    "?",
    "rel=next",
    "rel=\"next\"",
    "Bearer ",
    "Basic ",
    "realm=\"",
    "\t",
    " ",
    "\r\n",
    "\u{e9}",
];

pub const PATHS: Dictionary = &[
    "/",
    "//",
    ".",
    "..",
    "/../",
    "%2f",
    "%2e%2e",
    "%3A",
    "%3a",
    "%25",
    "%",
    ":",
    "::",
    "-",
    "--",
    "_",
    "__",
    "___",
    "a",
    "A",
    "0",
    "blobs",
    "manifests",
    "tags",
    "list",
    "uploads",
    "referrers",
    "_catalog",
    "/v2/",
    "sha256:",
    "sha512:",
    "\\",
    ";",
    "\0",
    " ",
    "\n",
    "\u{e9}",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];

pub const YAML: Dictionary = &[
    "\n",
    "\n  ",
    "  ",
    "\t",
    ":",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a ",
    "*a",
    "<<: ",
    "!!",
    "|",
    ">",
    "'",
    "\"",
    "#",
    "---\n",
    "~",
    "null",
    "true",
    "no",
    "0x1",
    "1e9",
    ".inf",
    "?",
    "\0",
    "\u{feff}",
    "version: 0.1\n",
    "http:\n",
    "proxy:\n",
    "transship:\n",
    "-1",
    "99999999999999999999",
    "5s",
    "=",
    "REGISTRY_HTTP_ADDR=",
    "REGISTRY_",
    "_0=",
    "__",
    "https://u:p@a.example",
];

/// Gives the seeds of `target` and mutants of them to `check`.
pub fn try_all(target: &str, dictionary: Dictionary, check: impl Fn(&[u8])) {
    let seeds = seeds(target);
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    for round in 0..rounds() {
        let mut input = seeds[chance.below(seeds.len())].clone();
        for _ in 0..=chance.below(4) {
            mutate(&mut input, &seeds, dictionary, &mut chance);
        }
        input.truncate(INPUT_BYTES_MAX);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input))) {
            eprintln!("{target}, mutant {round}: b\"{}\"", input.escape_ascii());
            resume_unwind(panic);
        }
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/__fuzz__");
    let corpus = root.join(target).join("corpus");
    let mut paths: Vec<_> = fs::read_dir(&corpus)
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// `TRANSSHIP_FUZZ_ROUNDS` asks for more than a smoke run.
fn rounds() -> usize {
    let asked = std::env::var("TRANSSHIP_FUZZ_ROUNDS").ok();
    asked.map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], dictionary: Dictionary, chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    let end = (at + chance.below(8)).min(input.len());
    match chance.below(6) {
        0 => drop(input.drain(at..end)),
        1 => input.insert(at, u8::try_from(chance.below(256)).unwrap()),
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        3 => {
            let again = input[at..end].to_vec();
            drop(input.splice(at..at, again));
        }
        4 => {
            let word = dictionary[chance.below(dictionary.len())];
            drop(input.splice(at..end, word.bytes()));
        }
        _ => {
            let other = &seeds[chance.below(seeds.len())];
            let from = chance.below(other.len() + 1);
            drop(input.splice(at.., other[from..].iter().copied()));
        }
    }
}

/// splitmix64.
struct Chance(u64);

impl Chance {
    /// Returns a number below `bound`, which is above zero.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}
