//! Which rule is for which image. Values only.
//!
//! A push by digest is the child of an index that comes next, or has no name at all. The index by its tag brings its
//! children along, so a digest is warmed nowhere, and mirrored only by a rule that is for all tags: it is for all of a
//! repository, signatures without a tag included.

use globset::{GlobBuilder, GlobMatcher};

use crate::gateway::options::Images;
use crate::gateway::{Failure, MirrorRule, WarmRule};
use crate::registry::Reference;

/// Globs of repositories and tags, compiled.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    repository: GlobMatcher,
    /// Empty is all.
    tags: Vec<GlobMatcher>,
    /// The repository, if the glob is for that one alone.
    pub(super) only: Option<String>,
}

impl Matcher {
    /// # Errors
    /// A glob that is none.
    pub(super) fn new(images: &Images) -> Result<Self, Failure> {
        let glob = |text: &String| glob(text).map_err(|error| Failure::new(text, error));
        let is_glob = images.repository.contains(['*', '?', '[', '{', '\\']);
        Ok(Self {
            repository: glob(&images.repository)?,
            tags: images.tags.iter().map(glob).collect::<Result<_, _>>()?,
            only: (!is_glob).then(|| images.repository.clone()),
        })
    }

    pub(super) fn has_repository(&self, repository: &str) -> bool {
        self.repository.is_match(repository)
    }

    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.tags.is_empty() || self.tags.iter().any(|glob| glob.is_match(tag))
    }

    /// Says whether the image is to be warmed.
    pub(super) fn warms(&self, repository: &str, reference: &str) -> bool {
        let is_tag = matches!(Reference::parse(reference), Ok(Reference::Tag(_)));
        is_tag && self.has_repository(repository) && self.has_tag(reference)
    }

    /// Says whether the image is to be mirrored.
    pub(super) fn mirrors(&self, repository: &str, reference: &str) -> bool {
        let is_wanted = match Reference::parse(reference) {
            Ok(Reference::Tag(tag)) => self.has_tag(tag.as_str()) || is_of_an_image(tag.as_str()),
            Ok(Reference::Digest(_)) => self.tags.is_empty(),
            Err(_) => false,
        };
        is_wanted && self.has_repository(repository)
    }
}

/// Says whether a tag is that of something about an image, named for its digest: signatures of cosign, and referrers
/// of registries that cannot list them. They go wherever their repository goes.
///
/// Source: OCI distribution-spec 1.1, "Referrers Tag Schema"; cosign's `sha256-HEX.sig`, `.att`, `.sbom`.
fn is_of_an_image(tag: &str) -> bool {
    let Some(rest) = tag.strip_prefix("sha256-") else {
        return false;
    };
    let (hex, suffix) = rest.split_once('.').unwrap_or((rest, ""));
    let is_hex = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex && ["", "sig", "att", "sbom"].contains(&suffix)
}

/// A rule with its globs.
#[derive(Clone, Debug)]
pub(super) struct Compiled<R> {
    pub(super) rule: R,
    pub(super) matcher: Matcher,
}

impl<R> Compiled<R> {
    pub(super) fn of(rules: &[R], images: fn(&R) -> &Images) -> Result<Vec<Self>, Failure>
    where
        R: Clone,
    {
        let compiled = |rule: &R| {
            Ok(Self {
                matcher: Matcher::new(images(rule))?,
                rule: rule.clone(),
            })
        };
        rules.iter().map(compiled).collect()
    }
}

/// Platforms that `cache` is to have of an image, by all rules together: `None` if no rule asks for it, empty is all.
pub(super) fn platforms(
    rules: &[Compiled<WarmRule>],
    repository: &str,
    tag: &str,
    cache: &str,
) -> Option<Vec<String>> {
    let for_it = |one: &&Compiled<WarmRule>| {
        one.rule.caches.iter().any(|name| name == cache) && one.matcher.warms(repository, tag)
    };
    let mut lists = rules.iter().filter(for_it).map(|one| &one.rule.platforms);
    let mut all = lists.next()?.clone();
    for list in lists {
        if list.is_empty() {
            all.clear();
        } else if !all.is_empty() {
            all.extend(list.iter().cloned());
        }
    }
    all.sort_unstable();
    all.dedup();
    Some(all)
}

/// The first rule that copies the image to this address.
pub(super) fn mirror<'a>(
    rules: &'a [Compiled<MirrorRule>],
    repository: &str,
    reference: &str,
    to: &str,
) -> Option<&'a MirrorRule> {
    let is_it = |one: &&Compiled<MirrorRule>| {
        one.rule.to.as_str() == to && one.matcher.mirrors(repository, reference)
    };
    rules.iter().find(is_it).map(|one| &one.rule)
}

/// Compiles a glob: `*` and `?` stay within a component of a name.
pub(super) fn glob(text: &str) -> Result<GlobMatcher, globset::Error> {
    let glob = GlobBuilder::new(text).literal_separator(true).build()?;
    Ok(glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(repository: &str, tags: &[&str]) -> Matcher {
        let tags = tags.iter().map(ToString::to_string).collect();
        let repository = repository.to_owned();
        Matcher::new(&Images { repository, tags }).unwrap()
    }

    fn digest() -> String {
        format!("sha256:{}", "a".repeat(64))
    }

    #[test]
    fn a_star_stays_within_a_component() {
        let one = matcher("website/*", &["v*"]);
        assert!(one.warms("website/ui", "v1") && one.mirrors("website/ui", "v1"));
        for (repository, tag) in [
            ("website/ui/x", "v1"),
            ("website", "v1"),
            ("website/ui", "1"),
            ("website/ui", ""),
        ] {
            assert!(!one.warms(repository, tag), "{repository}:{tag}");
            assert!(!one.mirrors(repository, tag), "{repository}:{tag}");
        }
        let deep = matcher("website/**", &[]);
        assert!(deep.warms("website/ui/x", "anything") && !deep.warms("web", "x"));
        assert_eq!(one.only, None);
        assert_eq!(matcher("a/b", &[]).only.as_deref(), Some("a/b"));
    }

    #[test]
    fn a_digest_is_mirrored_by_rules_for_all_tags_and_warmed_by_none() {
        let (all, some) = (matcher("**", &[]), matcher("**", &["*"]));
        assert!(all.mirrors("a", &digest()) && !some.mirrors("a", &digest()));
        assert!(!all.warms("a", &digest()) && !some.warms("a", &digest()));
    }

    #[test]
    fn what_is_about_an_image_goes_with_its_repository() {
        let one = matcher("a", &["v*"]);
        let tag = format!("sha256-{}", "0".repeat(64));
        for suffix in ["", ".sig", ".att", ".sbom"] {
            assert!(one.mirrors("a", &format!("{tag}{suffix}")));
            assert!(!one.warms("a", &format!("{tag}{suffix}")));
            assert!(!one.mirrors("b", &format!("{tag}{suffix}")));
        }
        assert!(!one.mirrors("a", "sha256-00.sig") && !one.mirrors("a", &format!("{tag}.exe")));
    }

    #[test]
    fn platforms_of_several_rules_add_up() {
        let rule = |tags: &[&str], cache: &str, platforms: &[&str]| Compiled {
            matcher: matcher("a", tags),
            rule: WarmRule {
                images: Images {
                    repository: "a".to_owned(),
                    tags: Vec::new(),
                },
                caches: vec![cache.to_owned()],
                platforms: platforms.iter().map(ToString::to_string).collect(),
                schedule: None,
            },
        };
        let two = [
            rule(&["v*"], "asia", &["linux/arm64"]),
            rule(&["v1"], "asia", &["linux/amd64", "linux/arm64"]),
            rule(&["all"], "asia", &["linux/amd64"]),
            rule(&["all"], "asia", &[]),
            rule(&["v*"], "africa", &[]),
        ];
        let of = |tag, cache| platforms(&two, "a", tag, cache);
        let both = ["linux/amd64", "linux/arm64"].map(str::to_owned).to_vec();
        assert_eq!(of("v1", "asia"), Some(both));
        assert_eq!(of("v2", "asia"), Some(vec!["linux/arm64".to_owned()]));
        assert_eq!(of("all", "asia"), Some(Vec::new()));
        assert_eq!(of("v2", "africa"), Some(Vec::new()));
        assert_eq!(of("x", "asia"), None);
    }
}
