//! An answer of a next hop that is not what was asked for.

use super::response::Response;

/// The next hop's word that it will not give what was asked for, as far as the asker may hear it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status; never the one that was hoped for.
    pub status: u16,
    /// Values of `WWW-Authenticate`, of the hop itself and of nobody that it redirects to.
    pub challenges: Vec<String>,
    /// What the caches behind say of their part; see [`Response::cache_status`].
    pub cache_status: String,
    /// Who says so; see [`Response::hop`].
    pub hop: String,
}

impl Refusal {
    /// Says whether the next hop was not able to decide: it failed.
    #[must_use]
    pub const fn is_undecided(&self) -> bool {
        self.status >= 500
    }
}

impl From<&Response> for Refusal {
    fn from(response: &Response) -> Self {
        Self {
            status: response.status(),
            challenges: response.challenges(),
            cache_status: response.cache_status(),
            hop: response.hop().to_owned(),
        }
    }
}
