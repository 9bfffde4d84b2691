//! Content digests as the OCI image specification names them (`sha256:<64 hex>`, `sha512:<128 hex>`),
//! and the hashers that prove them.
//!
//! Values only. A [`Digest`] that exists is well-formed: nothing else can be built from input.
//! Source: OCI image-spec, descriptor.md, "Digests".

use std::fmt;
use std::str::FromStr;

/// The algorithms that a blob may be addressed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, 32 bytes: what every registry uses.
    Sha256,
    /// SHA-512, 64 bytes: registered by the OCI image specification, rarely seen.
    Sha512,
}

impl Algorithm {
    /// Returns the name that stands before the colon of a digest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the length of the raw digest, in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// The longest digest in its text form, in bytes: `sha512:` and 128 hex digits.
pub const TEXT_BYTES_MAX: usize = 7 + 128;

/// A well-formed digest of known algorithm.
///
/// Invariant: the bytes after `algorithm.bytes()` are zero, so that derived equality is right.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    raw: [u8; 64],
}

impl Digest {
    /// Returns the digest of `content`. Costs one pass over it on the calling thread.
    #[must_use]
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// Returns the digest whose raw bytes these are; `None` when they are too many or too few.
    #[must_use]
    pub fn from_raw(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != algorithm.bytes() {
            return None;
        }
        let mut raw = [0; 64];
        raw[..bytes.len()].copy_from_slice(bytes);
        Some(Self { algorithm, raw })
    }

    /// Returns the algorithm that the digest was made with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the raw digest: 32 or 64 bytes.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw[..self.algorithm.bytes()]
    }

    /// Returns the text form on the stack, for heads that are written a hundred thousand times a second.
    #[must_use]
    pub fn text(&self) -> Text {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let name = self.algorithm.name().as_bytes();
        let mut text = Text {
            bytes: [b':'; TEXT_BYTES_MAX],
            length: name.len() + 1 + 2 * self.raw().len(),
        };
        text.bytes[..name.len()].copy_from_slice(name);
        let hex = &mut text.bytes[name.len() + 1..text.length];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.raw()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }

    /// Returns the hex digits after the colon, lower case.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.raw()
            .iter()
            .fold(String::with_capacity(128), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
}

/// The text form of a digest, in place: what [`Digest`] displays, without formatting or allocation.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; TEXT_BYTES_MAX],
    /// Invariant: at most `TEXT_BYTES_MAX`.
    length: usize,
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_ref()), f)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        f.write_str(":")?;
        self.raw()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a digest that can be used here. The client's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestError {
    /// Not `algorithm:encoded`, or hex of the wrong length or case.
    Malformed,
    /// Well-formed, of an algorithm that is not implemented.
    UnknownAlgorithm,
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a digest: want sha256:<64 lower-case hex> or sha512:<128>",
            Self::UnknownAlgorithm => "digest algorithm not supported: want sha256 or sha512",
        })
    }
}

impl std::error::Error for DigestError {}

impl FromStr for Digest {
    type Err = DigestError;

    /// Parses `sha256:<hex>` or `sha512:<hex>`; hex digits must be lower case (OCI image-spec).
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::Malformed)?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ if is_algorithm_name(name) => return Err(DigestError::UnknownAlgorithm),
            _ => return Err(DigestError::Malformed),
        };
        if hex.len() != algorithm.bytes() * 2 {
            return Err(DigestError::Malformed);
        }
        let mut raw = [0; 64];
        for (byte, pair) in raw.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self { algorithm, raw })
    }
}

/// Grammar of the part before the colon: `[a-z0-9]+([+._-][a-z0-9]+)*`.
fn is_algorithm_name(name: &str) -> bool {
    name.split(['+', '.', '_', '-']).all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

const fn nibble(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError::Malformed),
    }
}

/// A running hash of one blob, fed in order.
///
/// Costs about 2.7 s of one core per GiB where the processor has no SHA instructions: feed it on a
/// helper thread, not on a core.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    context: aws_lc_rs::digest::Context,
}

impl Hasher {
    /// Returns a hasher that has seen nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let context = aws_lc_rs::digest::Context::new(match algorithm {
            Algorithm::Sha256 => &aws_lc_rs::digest::SHA256,
            Algorithm::Sha512 => &aws_lc_rs::digest::SHA512,
        });
        Self { algorithm, context }
    }

    /// Feeds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Returns the digest of everything fed.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut raw = [0; 64];
        let done = self.context.finish();
        raw[..self.algorithm.bytes()].copy_from_slice(done.as_ref());
        Digest {
            algorithm: self.algorithm,
            raw,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_SHA256: &str =
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_survives_the_round_trip_through_text() {
        let digest: Digest = EMPTY_SHA256.parse().unwrap();
        assert_eq!(digest.to_string(), EMPTY_SHA256);
        assert_eq!(format!("sha256:{}", digest.hex()), EMPTY_SHA256);
        assert_eq!(digest, Digest::of(Algorithm::Sha256, b""));
        let long = Digest::of(Algorithm::Sha512, b"abc");
        for digest in [digest, long] {
            assert_eq!(digest.text().as_ref(), digest.to_string().as_bytes());
        }
        assert_eq!(long.to_string().parse(), Ok(long));
        for digest in [digest, long] {
            let (algorithm, raw) = (digest.algorithm(), digest.raw());
            assert_eq!(Digest::from_raw(algorithm, raw), Some(digest));
            assert_eq!(Digest::from_raw(algorithm, &raw[1..]), None);
        }
        assert_eq!(long.to_string().len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn what_is_not_a_digest_is_refused() {
        let upper = EMPTY_SHA256.to_uppercase();
        let short = &EMPTY_SHA256[..EMPTY_SHA256.len() - 1];
        let long = format!("{EMPTY_SHA256}0");
        let path = EMPTY_SHA256.replace("e3b0", "../.");
        for bad in [
            "",
            "sha256",
            "sha256:",
            ":",
            "sha256:xyz",
            &upper,
            short,
            &long,
            &path,
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError::Malformed), "{bad}");
        }
        assert_eq!(
            "blake3:00".parse::<Digest>(),
            Err(DigestError::UnknownAlgorithm)
        );
    }

    #[test]
    fn feeding_in_parts_equals_feeding_at_once() {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"hello ");
        hasher.update(b"world");
        assert_eq!(
            hasher.finish(),
            Digest::of(Algorithm::Sha256, b"hello world")
        );
    }
}
