//! Text that must not be seen: passwords, tokens, values of `Authorization`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A secret text, cheap to clone. `Debug` hides it, nothing displays it.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Returns `text` as a secret.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the text for the wire or for a comparison by a library, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    /// Takes as long for texts that differ in the first byte as for those that differ in the last.
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
    }
}

impl Eq for Secret {}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_and_not_shown() {
        let secret = Secret::new("s3cret");
        assert_eq!(secret, Secret::new("s3cret"));
        assert_ne!(secret, Secret::new("s3creT"));
        assert_ne!(secret, Secret::new("s3cret "));
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
