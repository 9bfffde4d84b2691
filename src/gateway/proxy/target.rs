//! From a request's path and method to what it asks for, and from that to the backend's path.
//!
//! Values only. Invariant: the backend's path is written from what was read here, never copied.

use axum::http::Method;

use crate::digest::Digest;
use crate::gateway::accounts::Action;
use crate::registry::{Code, Name, Reference, Route, RouteError};

/// Longest id of an upload. Registries have UUIDs, or some 200 bytes of base64.
const UPLOAD_ID_BYTES_MAX: usize = 512;

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// `/v2/`.
    Base,
    /// `/v2/_catalog`.
    Catalog,
    /// `/v2/<name>/tags/list`.
    Tags(Name<'a>),
    /// `/v2/<name>/referrers/<digest>`.
    Referrers(Name<'a>, Digest),
    /// `/v2/<name>/manifests/<reference>`.
    Manifest(Name<'a>, Reference<'a>),
    /// `/v2/<name>/blobs/<digest>`.
    Blob(Name<'a>, Digest),
    /// `/v2/<name>/blobs/uploads/`.
    Uploads(Name<'a>),
    /// `/v2/<name>/blobs/uploads/<id>`.
    Upload(Name<'a>, &'a str),
}

impl<'a> Target<'a> {
    /// Reads a path, undecoded and without its query.
    ///
    /// # Errors
    /// The code that says what is wrong with it; `None` where there is no such path.
    pub(super) fn parse(path: &'a str) -> Result<Self, Option<Code>> {
        match Route::parse(path, "/").map_err(RouteError::code)? {
            Route::Root => Err(None),
            Route::Base => Ok(Self::Base),
            Route::Catalog => Ok(Self::Catalog),
            Route::Tags { name } => Ok(Self::Tags(name)),
            Route::Referrers { name, digest } => Ok(Self::Referrers(name, digest)),
            Route::Manifest { name, reference } => Ok(Self::Manifest(name, reference)),
            Route::Blob { name, digest } => Ok(Self::Blob(name, digest)),
            Route::Upload { name } => match path.rsplit('/').next() {
                Some("" | "uploads") => Ok(Self::Uploads(name)),
                Some(id) if is_upload_id(id) => Ok(Self::Upload(name, id)),
                _ => Err(None),
            },
        }
    }

    /// Returns the repository, if it is about one.
    pub(super) const fn name(&self) -> Option<Name<'a>> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(name)
            | Self::Referrers(name, _)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _) => Some(*name),
        }
    }

    /// Returns the methods that there are, as `Allow` has them.
    pub(super) const fn methods(&self) -> &'static str {
        match self {
            Self::Base | Self::Catalog | Self::Tags(_) | Self::Referrers(..) => "GET, HEAD",
            Self::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Self::Blob(..) => "GET, HEAD, DELETE",
            Self::Uploads(_) => "POST",
            Self::Upload(..) => "GET, PATCH, PUT, DELETE",
        }
    }

    /// Returns the right that a method needs; `None` for a method that there is not.
    ///
    /// All of an upload is a push: who may begin one may also look at it, and give it up.
    pub(super) fn action(&self, method: &Method) -> Option<Action> {
        let mut known = self.methods().split(", ");
        if !known.any(|known| known == method.as_str()) {
            return None;
        }
        Some(match (self, method.as_str()) {
            (Self::Uploads(_) | Self::Upload(..), _) | (_, "PUT") => Action::Push,
            (_, "DELETE") => Action::Delete,
            _ => Action::Pull,
        })
    }

    /// Returns the same path as the backend has it.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Base => "/v2/".to_owned(),
            Self::Catalog => "/v2/_catalog".to_owned(),
            Self::Tags(name) => format!("/v2/{name}/tags/list"),
            Self::Referrers(name, digest) => format!("/v2/{name}/referrers/{digest}"),
            Self::Manifest(name, reference) => format!("/v2/{name}/manifests/{reference}"),
            Self::Blob(name, digest) => format!("/v2/{name}/blobs/{digest}"),
            Self::Uploads(name) => format!("/v2/{name}/blobs/uploads/"),
            Self::Upload(name, id) => format!("/v2/{name}/blobs/uploads/{id}"),
        }
    }

    /// Returns the code of a 404 about it.
    pub(super) const fn unknown(&self) -> Code {
        match self {
            Self::Manifest(..) => Code::ManifestUnknown,
            Self::Blob(..) => Code::BlobUnknown,
            _ => Code::NameUnknown,
        }
    }
}

/// Says whether `id` can stand in a path as it is, and lead nowhere else.
fn is_upload_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~=".contains(&byte);
    let is_bounded = (1..=UPLOAD_ID_BYTES_MAX).contains(&id.len());
    is_bounded && id.bytes().all(plain) && ![".", ".."].contains(&id)
}

/// Returns the scope that names a right to a repository: what a token is asked for with.
///
/// Who pushes also looks at what is there, so clients ask for both at once.
pub(super) fn scope(name: Name<'_>, action: Action) -> String {
    let actions = match action {
        Action::Pull => "pull",
        Action::Push => "pull,push",
        Action::Delete => "delete",
    };
    format!("repository:{name}:{actions}")
}

/// The scope of the catalog.
pub(super) const CATALOG_SCOPE: &str = "registry:catalog:*";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn each_path_is_written_as_it_was_read() {
        for path in [
            "/v2/".to_owned(),
            "/v2/_catalog".to_owned(),
            "/v2/a/b/tags/list".to_owned(),
            format!("/v2/a/referrers/{DIGEST}"),
            "/v2/a/manifests/latest".to_owned(),
            format!("/v2/a/manifests/{DIGEST}"),
            format!("/v2/a/blobs/{DIGEST}"),
            "/v2/a/blobs/uploads/".to_owned(),
            "/v2/a/blobs/uploads/0-1_b.c~d=".to_owned(),
        ] {
            assert_eq!(Target::parse(&path).unwrap().path(), path);
        }
        let written = Target::parse("/v2/a/blobs/uploads").unwrap().path();
        assert_eq!(written, "/v2/a/blobs/uploads/");
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_upload() {
        let long = "a".repeat(UPLOAD_ID_BYTES_MAX + 1);
        for id in [
            ".", "..", "%2e%2e", "a%2fb", "a;b", "a\\b", "a?b", "é", "a b", &long,
        ] {
            let path = format!("/v2/a/blobs/uploads/{id}");
            assert_eq!(Target::parse(&path), Err(None), "{id}");
        }
    }

    #[test]
    fn each_method_needs_its_right_and_others_are_none() {
        let (pull, push) = (Some(Action::Pull), Some(Action::Push));
        let delete = Some(Action::Delete);
        let blob = format!("/v2/a/blobs/{DIGEST}");
        for (path, method, action) in [
            ("/v2/a/manifests/x", Method::GET, pull),
            ("/v2/a/manifests/x", Method::HEAD, pull),
            ("/v2/a/manifests/x", Method::PUT, push),
            ("/v2/a/manifests/x", Method::DELETE, delete),
            ("/v2/a/manifests/x", Method::POST, None),
            (&blob, Method::GET, pull),
            (&blob, Method::HEAD, pull),
            (&blob, Method::DELETE, delete),
            (&blob, Method::PUT, None),
            ("/v2/a/tags/list", Method::GET, pull),
            ("/v2/a/tags/list", Method::DELETE, None),
            ("/v2/a/blobs/uploads/", Method::POST, push),
            ("/v2/a/blobs/uploads/", Method::GET, None),
            ("/v2/a/blobs/uploads/1", Method::GET, push),
            ("/v2/a/blobs/uploads/1", Method::PATCH, push),
            ("/v2/a/blobs/uploads/1", Method::PUT, push),
            ("/v2/a/blobs/uploads/1", Method::DELETE, push),
            ("/v2/a/blobs/uploads/1", Method::POST, None),
        ] {
            let target = Target::parse(path).unwrap();
            assert_eq!(target.action(&method), action, "{method} {path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_reaches_the_backend_that_is_not_of_the_api(
            path in "/v2/([a-z./%?#\\\\]{0,6}/){0,3}(blobs/uploads|tags|manifests)/[a-z.%/;A]{0,8}|\\PC{0,20}",
        ) {
            if let Ok(target) = Target::parse(&path) {
                let written = target.path();
                let mut url = url::Url::parse("http://backend/").unwrap();
                url.set_path(&written);
                prop_assert_eq!(url.path(), written);
            }
        }
    }
}
