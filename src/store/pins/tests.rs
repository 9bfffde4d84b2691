use std::collections::HashMap;

use super::*;
use crate::digest::Algorithm;

fn digest(name: &str) -> Digest {
    Digest::of(Algorithm::Sha256, name.as_bytes())
}

/// Manifests that are stored, by digest.
#[derive(Default)]
struct Shelf(HashMap<Digest, Arc<Manifest>>);

impl Shelf {
    fn put(&mut self, name: &str, json: String) {
        let manifest = Manifest {
            media_type: "application/json".to_owned(),
            bytes: json.into_bytes(),
        };
        self.0.insert(digest(name), Arc::new(manifest));
    }

    fn put_image(&mut self, name: &str, layers: &[&str]) {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| format!(r#"{{"digest":"{}"}}"#, digest(layer)))
            .collect();
        let config = digest(&format!("{name}.config"));
        let layers = layers.join(",");
        self.put(
            name,
            format!(r#"{{"config":{{"digest":"{config}"}},"layers":[{layers}]}}"#),
        );
    }

    fn look(&self, pins: &Pins) -> Changed {
        let mut changed = pins.look(|digest| Ok(self.0.get(digest).cloned()));
        changed.pinned.sort_unstable();
        changed.released.sort_unstable();
        changed
    }
}

fn sorted(names: &[&str]) -> Vec<Digest> {
    let mut digests: Vec<_> = names.iter().map(|name| digest(name)).collect();
    digests.sort_unstable();
    digests
}

#[test]
fn a_reference_is_a_digest_an_image_or_refused() {
    let sha = digest("x").to_string();
    for text in [
        sha.clone(),
        format!("a/b@{sha}"),
        "a/b:1.0".into(),
        "a:latest".into(),
    ] {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), text);
    }
    let long = format!("a:{}", "t".repeat(129));
    for bad in [
        "",
        "a",
        "a:",
        ":t",
        "A:t",
        "a//b:t",
        "../x:t",
        "a@sha256:0",
        "a:-t",
        "a b:t",
        &long,
    ] {
        assert!(bad.parse::<Reference>().is_err(), "{bad}");
    }
}

#[test]
fn pins_are_added_and_taken_out_and_nothing_else_of_the_file_changes() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("pins");
    let (one, two): (Reference, Reference) = ("a:1".parse().unwrap(), "b:2".parse().unwrap());
    assert_eq!(pin(root.path(), std::slice::from_ref(&one)).unwrap(), 1);
    assert_eq!(
        pin(root.path(), std::slice::from_ref(&one)).unwrap(),
        0,
        "it is there"
    );
    let text = format!("# ours\n{one} # why\nno sense at all\n");
    fs::write(&path, &text).unwrap();
    assert_eq!(pin(root.path(), &[two.clone(), one.clone()]).unwrap(), 1);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{text}b:2\n"));
    assert_eq!(unpin(root.path(), &[one]).unwrap(), 1);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "# ours\nno sense at all\nb:2\n"
    );
    assert_eq!(pins(root.path()).unwrap(), [two]);
}

#[test]
fn a_pinned_image_pins_all_that_it_names_as_it_becomes_known() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("pins");
    let pins = Pins::new(path.clone());
    let mut shelf = Shelf::default();
    assert_eq!(shelf.look(&pins), Changed::default());
    fs::write(&path, format!("app@{}\n", digest("index"))).unwrap();
    assert_eq!(shelf.look(&pins).pinned, sorted(&["index"]));
    assert!(pins.holds(&digest("index")) && !pins.holds(&digest("base")));
    // The index is pulled, then one platform of it.
    let child = digest("amd64");
    shelf.put(
        "index",
        format!(r#"{{"manifests":[{{"digest":"{child}"}}]}}"#),
    );
    assert_eq!(shelf.look(&pins), Changed::default(), "nobody said so");
    pins.note_manifest(&digest("index"));
    assert_eq!(shelf.look(&pins).pinned, sorted(&["amd64"]));
    shelf.put_image("amd64", &["base", "top"]);
    pins.note_manifest(&digest("amd64"));
    assert_eq!(
        shelf.look(&pins).pinned,
        sorted(&["amd64.config", "base", "top"])
    );
    fs::write(&path, "").unwrap();
    assert_eq!(shelf.look(&pins).released.len(), 5);
    assert!(!pins.holds(&digest("base")));
}

#[test]
fn a_pinned_tag_follows_what_is_pulled_and_is_known_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("pins");
    fs::write(&path, "app:stable\n").unwrap();
    let mut shelf = Shelf::default();
    shelf.put_image("one", &["base", "old"]);
    shelf.put_image("two", &["base", "new"]);
    let pins = Pins::new(path.clone());
    // Pulled before anybody looked at what is pinned.
    pins.note_tag("app", "other", &digest("two"));
    pins.note_tag("app", "stable", &digest("one"));
    let pinned = shelf.look(&pins).pinned;
    assert_eq!(pinned, sorted(&["one", "one.config", "base", "old"]));
    pins.note_tag("app", "stable", &digest("two"));
    let changed = shelf.look(&pins);
    assert_eq!(changed.pinned, sorted(&["two", "two.config", "new"]));
    assert_eq!(changed.released, sorted(&["one", "one.config", "old"]));
    let pins = Pins::new(path);
    assert!(shelf.look(&pins).pinned.contains(&digest("new")));
}

#[test]
fn a_list_that_makes_no_sense_pins_nothing_and_breaks_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("pins");
    let pins = Pins::new(path.clone());
    let mut shelf = Shelf::default();
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert_eq!(shelf.look(&pins), Changed::default());
    fs::write(&path, format!("what\n{}\n", digest("x"))).unwrap();
    shelf.put("x", "[1, 2".to_owned());
    assert_eq!(shelf.look(&pins).pinned, sorted(&["x"]), "one of two");
    // A manifest that names itself.
    shelf.put(
        "x",
        format!(r#"{{"manifests":[{{"digest":"{}"}}]}}"#, digest("x")),
    );
    pins.note_manifest(&digest("x"));
    assert_eq!(shelf.look(&pins), Changed::default());
}
