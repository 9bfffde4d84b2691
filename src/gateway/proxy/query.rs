//! Queries: read once, and written anew for the backend.
//!
//! Values only. Invariants
//! - A parameter that comes twice is refused: two readers could take one for the other.
//! - What is meant for the gateway (`token`, `ns`) goes no further, and a mount only as it was permitted.

use url::form_urlencoded;

use crate::digest::Digest;
use crate::registry::{Code, Name};

/// Most parameters of a query; none has more than four.
const PARAMETERS_MAX: usize = 32;

/// Parameters that no backend is to see.
const OURS: [&str; 2] = ["token", "ns"];

/// The parameters of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

/// A blob of another repository that is to be here as well.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) digest: Digest,
    /// A name: checked.
    from: String,
}

impl Mount {
    /// Returns the other repository.
    pub(super) fn from(&self) -> Option<Name<'_>> {
        Name::parse(&self.from).ok()
    }
}

impl Query {
    /// Reads the text behind the `?`.
    ///
    /// # Errors
    /// [`Code::RequestInvalid`], [`Code::DigestInvalid`].
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Code> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            let is_repeated = pairs.iter().any(|(known, _)| *known == name);
            if is_repeated || pairs.len() == PARAMETERS_MAX {
                return Err(Code::RequestInvalid);
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        let query = Self(pairs);
        match query.get("digest").map(str::parse::<Digest>) {
            Some(Err(_)) => Err(Code::DigestInvalid),
            Some(Ok(_)) | None => Ok(query),
        }
    }

    /// Returns a parameter, decoded.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the mount that is asked for.
    ///
    /// One without `from` asks the registry to find the blob wherever it is, also where the caller may not look:
    /// that is none.
    pub(super) fn mount(&self) -> Option<Mount> {
        let digest = self.get("mount")?.parse().ok()?;
        let from = self.get("from")?;
        Name::parse(from).ok()?;
        Some(Mount {
            digest,
            from: from.to_owned(),
        })
    }

    /// Returns what the backend is asked with.
    ///
    /// - `mount`: the mount that is permitted.
    pub(super) fn for_backend(&self, mount: Option<&Mount>) -> Option<String> {
        let mut written = form_urlencoded::Serializer::new(String::new());
        let is_passed = |name: &str| !OURS.contains(&name) && !["mount", "from"].contains(&name);
        for (name, value) in self.0.iter().filter(|(name, _)| is_passed(name)) {
            written.append_pair(name, value);
        }
        if let Some(mount) = mount {
            written.append_pair("mount", &mount.digest.to_string());
            written.append_pair("from", &mount.from);
        }
        let text = written.finish();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn query(text: &str) -> Query {
        Query::parse(Some(text)).unwrap()
    }

    #[test]
    fn what_means_something_is_passed_and_encoded_anew() {
        for (text, passed) in [
            ("", None),
            ("n=5&last=a/b", Some("n=5&last=a%2Fb")),
            ("artifactType=a%2Bb", Some("artifactType=a%2Bb")),
            (
                "_state=ab-_%3D&token=t&ns=docker.io",
                Some("_state=ab-_%3D"),
            ),
            ("x=%0d%0a%26", Some("x=%0D%0A%26")),
            ("mount=x&from=y", None),
        ] {
            assert_eq!(query(text).for_backend(None).as_deref(), passed, "{text}");
        }
        assert_eq!(Query::parse(None), Ok(Query::default()));
    }

    #[test]
    fn what_two_readers_could_take_for_two_things_is_refused() {
        assert_eq!(
            Query::parse(Some("from=a&from=b")),
            Err(Code::RequestInvalid)
        );
        assert_eq!(
            Query::parse(Some("from=a&f%72om=b")),
            Err(Code::RequestInvalid)
        );
        assert_eq!(
            Query::parse(Some("digest=sha256:x")),
            Err(Code::DigestInvalid)
        );
        let many: Vec<_> = (0..=PARAMETERS_MAX).map(|n| format!("p{n}=")).collect();
        assert_eq!(
            Query::parse(Some(&many.join("&"))),
            Err(Code::RequestInvalid)
        );
    }

    #[test]
    fn a_mount_is_passed_only_as_it_was_permitted() {
        let asked = query(&format!("from=a/b&mount={DIGEST}&x=1"));
        let mount = asked.mount().unwrap();
        assert_eq!(mount.from().unwrap().as_str(), "a/b");
        assert_eq!(asked.for_backend(None).unwrap(), "x=1");
        let encoded = DIGEST.replace(':', "%3A");
        assert_eq!(
            asked.for_backend(Some(&mount)).unwrap(),
            format!("x=1&mount={encoded}&from=a%2Fb")
        );
        for none in [
            "mount=x&from=a",
            &format!("mount={DIGEST}"),
            &format!("mount={DIGEST}&from=A"),
        ] {
            assert_eq!(query(none).mount(), None, "{none}");
        }
    }
}
