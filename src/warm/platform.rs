//! Which platforms of an image are meant: `linux/amd64`, `linux/arm64/v8`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A platform, as an operator or an index names it (OCI image specification, image-index.md).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Platform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

/// A text names no platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlatformError;

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a platform: want OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, as linux/amd64",
        )
    }
}

impl std::error::Error for PlatformError {}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let is_word = |part: &str| {
            (1..=64).contains(&part.len())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        let mut parts = text.split('/');
        let mut next = || parts.next().filter(|part| is_word(part)).map(str::to_owned);
        let (os, architecture) = (next().ok_or(PlatformError)?, next().ok_or(PlatformError)?);
        let variant = match text.split('/').nth(2) {
            None => None,
            Some(_) => Some(next().ok_or(PlatformError)?),
        };
        match parts.next() {
            None => Ok(Self {
                os,
                architecture,
                variant,
            }),
            Some(_) => Err(PlatformError),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .as_ref()
            .map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl Platform {
    /// Says whether a manifest for `offered` is one for this: an index without a variant means the
    /// architecture's first, and who asks without one takes any.
    pub(super) fn takes(&self, offered: &Self) -> bool {
        let variant = |platform: &Self| match (&platform.variant, platform.architecture.as_str()) {
            (Some(variant), _) => Some(variant.clone()),
            (None, "arm64") => Some("v8".to_owned()),
            (None, "arm") => Some("v7".to_owned()),
            (None, "amd64") => Some("v1".to_owned()),
            (None, _) => None,
        };
        self.os == offered.os
            && self.architecture == offered.architecture
            && (self.variant.is_none() || variant(self) == variant(offered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn a_platform_is_read_and_shown_alike() {
        for text in ["linux/amd64", "linux/arm64/v8", "windows/amd64"] {
            assert_eq!(platform(text).to_string(), text);
        }
        for wrong in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/amd64/",
            "a/b/c/d",
            "a/b c",
            "a//c",
        ] {
            assert_eq!(wrong.parse::<Platform>(), Err(PlatformError), "{wrong:?}");
        }
    }

    #[test]
    fn a_variant_counts_where_it_is_said() {
        for (asked, offered, takes) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/arm64", false),
            ("linux/amd64", "windows/amd64", false),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64/v9", "linux/arm64", false),
            ("linux/arm", "linux/arm/v6", true),
            ("linux/arm/v7", "linux/arm", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/amd64/v1", "linux/amd64", true),
            ("linux/amd64", "unknown/unknown", false),
        ] {
            assert_eq!(
                platform(asked).takes(&platform(offered)),
                takes,
                "{asked} {offered}"
            );
        }
    }
}
