//! What one core has lately been permitted to give to whom, so that a client that comes again costs no
//! lock and no signature.
//!
//! A grant is for one digest under one repository's name and one credential, all compared in full, and
//! ends when the permission behind it does.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::time::Instant;

use crate::digest::Digest;
use crate::http::Request;
use crate::limits::GRANTS_BYTES_MAX;

/// Bytes at the end of a credential that are hashed: a token ends in its signature, which spreads well.
const HASHED_BYTES: usize = 32;

/// What a request shows of who it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// Nothing.
    Nobody,
    /// The parameter `token` of the query, as it came.
    Token(&'a str),
    /// The value of `Authorization`.
    Authorization(&'a [u8]),
}

impl<'a> Credential<'a> {
    /// Returns what `request` shows; `None` where that takes a closer look at its query.
    ///
    /// - `heeds_authorization`: whether `Authorization` means anything here.
    pub(super) fn of_plain(request: &Request<'a>, heeds_authorization: bool) -> Option<Self> {
        match request.query {
            None => Some(Self::of_field(request.authorization, heeds_authorization)),
            Some(query) => {
                let token = query.strip_prefix("token=")?;
                // Nothing encoded and no second parameter: the token stands there as it is.
                let is_literal = memchr::memchr3(b'%', b'+', b'&', token.as_bytes()).is_none();
                is_literal.then_some(Self::Token(token))
            }
        }
    }

    pub(super) fn of_field(authorization: Option<&'a [u8]>, heeds_authorization: bool) -> Self {
        authorization
            .filter(|_| heeds_authorization)
            .map_or(Self::Nobody, Self::Authorization)
    }

    const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Nobody => &[],
            Self::Token(token) => token.as_bytes(),
            Self::Authorization(value) => value,
        }
    }

    const fn kind(self) -> CredentialKind {
        match self {
            Self::Nobody => CredentialKind::Nobody,
            Self::Token(_) => CredentialKind::Token,
            Self::Authorization(_) => CredentialKind::Authorization,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CredentialKind {
    Nobody,
    Token,
    Authorization,
}

struct Grant {
    digest: Digest,
    repository: Box<str>,
    kind: CredentialKind,
    credential: Box<[u8]>,
    until: Instant,
}

impl Grant {
    fn is_for(&self, digest: &Digest, repository: &str, credential: Credential<'_>) -> bool {
        self.digest == *digest
            && *self.repository == *repository
            && self.kind == credential.kind()
            && *self.credential == *credential.bytes()
    }
}

/// The grants of one core, of which the older half goes when there are too many, or too long ones.
pub(super) struct Grants {
    young: HashMap<u64, Grant>,
    old: HashMap<u64, Grant>,
    /// Bytes of the credentials of `young`.
    young_bytes: usize,
    keyed: RandomState,
    generation_max: usize,
}

impl Grants {
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            young_bytes: 0,
            keyed: RandomState::new(),
            generation_max: (count_max / 2).max(1),
        }
    }

    /// Says whether this was granted, and still is at `now`. Costs about 100 ns.
    pub(super) fn find(
        &mut self,
        digest: &Digest,
        repository: &str,
        credential: Credential<'_>,
        now: Instant,
    ) -> bool {
        let key = self.key(digest, repository, credential);
        let counts =
            |grant: &Grant| grant.is_for(digest, repository, credential) && now < grant.until;
        if let Some(grant) = self.young.get(&key) {
            return counts(grant);
        }
        let Some(grant) = self.old.remove(&key) else {
            return false;
        };
        let counts = counts(&grant);
        if counts {
            self.put(key, grant);
        }
        counts
    }

    /// Remembers a grant until then.
    pub(super) fn insert(
        &mut self,
        digest: &Digest,
        repository: &str,
        credential: Credential<'_>,
        until: Instant,
    ) {
        let grant = Grant {
            digest: *digest,
            repository: repository.into(),
            kind: credential.kind(),
            credential: credential.bytes().into(),
            until,
        };
        self.put(self.key(digest, repository, credential), grant);
    }

    fn put(&mut self, key: u64, grant: Grant) {
        let is_full = self.young.len() >= self.generation_max;
        if is_full || self.young_bytes > GRANTS_BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += grant.credential.len();
        self.young.insert(key, grant);
    }

    /// Two grants of one key are no harm: both are compared in full, and the later one stays.
    fn key(&self, digest: &Digest, repository: &str, credential: Credential<'_>) -> u64 {
        let mut hasher = self.keyed.build_hasher();
        let bytes = credential.bytes();
        hasher.write(&digest.raw()[..8]);
        repository.hash(&mut hasher);
        hasher.write(&bytes[bytes.len().saturating_sub(HASHED_BYTES)..]);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::digest::Algorithm;

    fn at(seconds: u64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_grant_is_for_one_digest_one_name_one_credential_and_its_time() {
        let digest = |text: &str| Digest::of(Algorithm::Sha256, text.as_bytes());
        let mut grants = Grants::new(16);
        let (one, other) = (digest("1"), digest("2"));
        let token = Credential::Token("head.claims.signature");
        grants.insert(&one, "a/b", token, at(100));
        assert!(grants.find(&one, "a/b", token, at(99)));
        assert!(!grants.find(&one, "a/b", token, at(100)), "it has ended");
        assert!(!grants.find(&other, "a/b", token, at(99)));
        assert!(!grants.find(&one, "a/bc", token, at(99)));
        assert!(!grants.find(&one, "a", token, at(99)));
        for stranger in [
            Credential::Nobody,
            // The same end, and so the same key: compared in full.
            Credential::Token("hEad.claims.signature"),
            Credential::Authorization(b""),
            Credential::Authorization(b"head.claims.signature"),
        ] {
            assert!(!grants.find(&one, "a/b", stranger, at(99)), "{stranger:?}");
        }
    }

    #[test]
    fn a_long_credential_is_compared_to_its_first_byte() {
        let digest = Digest::of(Algorithm::Sha256, b"1");
        let mut grants = Grants::new(16);
        let mut long = vec![b'a'; 4096];
        grants.insert(&digest, "a", Credential::Authorization(&long), at(100));
        assert!(grants.find(&digest, "a", Credential::Authorization(&long), at(1)));
        long[0] = b'b';
        assert!(!grants.find(&digest, "a", Credential::Authorization(&long), at(1)));
    }

    #[test]
    fn an_empty_credential_is_not_nobody() {
        let digest = Digest::of(Algorithm::Sha256, b"1");
        let mut grants = Grants::new(16);
        grants.insert(&digest, "a", Credential::Nobody, at(100));
        assert!(!grants.find(&digest, "a", Credential::Authorization(b""), at(1)));
    }

    #[test]
    fn long_credentials_do_not_fill_the_memory() {
        let digest = Digest::of(Algorithm::Sha256, b"1");
        let mut grants = Grants::new(1 << 20);
        for round in 0..2000_u32 {
            let mut long = vec![b'a'; 30_000];
            long[..4].copy_from_slice(&round.to_le_bytes());
            let name = round.to_string();
            grants.insert(&digest, &name, Credential::Authorization(&long), at(100));
        }
        let all = grants.young.values().chain(grants.old.values());
        let bytes: usize = all.map(|grant| grant.credential.len()).sum();
        assert!(bytes <= GRANTS_BYTES_MAX + 100_000, "{bytes}");
    }

    #[test]
    fn what_is_used_stays_and_there_is_a_bound() {
        let digest = Digest::of(Algorithm::Sha256, b"1");
        let mut grants = Grants::new(8);
        for round in 0..100 {
            let name = format!("r/{round}");
            grants.insert(&digest, "hot", Credential::Nobody, at(100));
            grants.insert(&digest, &name, Credential::Nobody, at(100));
            assert!(grants.find(&digest, "hot", Credential::Nobody, at(1)));
            assert!(grants.young.len() + grants.old.len() <= 8);
        }
        assert!(!grants.find(&digest, "r/0", Credential::Nobody, at(1)));
    }
}
