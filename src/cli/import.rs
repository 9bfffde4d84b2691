//! `transship import`: what another cache has stored, taken over.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use super::args;
use super::progress::{Progress, size, threads};
use crate::store::import::{Event, Form, Options, Source, Tally, Trouble, import};

/// Imports what is `asked` for into the store under `root`; 0 if all of it is here then, 1 if not.
pub(super) fn run(root: &Path, asked: &args::Import) -> ExitCode {
    let begun = Instant::now();
    let progress = Progress::start_for(asked.json);
    let Some(source) = Source::find(&asked.from) else {
        let text = format!(
            "{}: neither the storage of a Docker registry (docker/registry/v2/blobs) nor of transship",
            asked.from.display()
        );
        progress.conclude(&text, json!({ "error": text }));
        return ExitCode::FAILURE;
    };
    if !asked.json {
        progress.say(&begins(&source, root));
    }
    let options = Options {
        source: &source,
        root,
        copy: asked.copy,
        threads: threads(),
    };
    let outcome = import(&options, &|event| match event {
        Event::Found { bytes, .. } => progress.of(bytes),
        Event::Done(bytes) => progress.pass(bytes),
        Event::Trouble(path, trouble) => progress.say(&describe(path, &trouble)),
    });
    let seconds = begun.elapsed().as_secs_f64();
    match outcome {
        Ok(tally) => {
            progress.conclude(&summary(&tally, seconds), figures(&tally, seconds));
            match tally.is_well() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            let text = format!("broken off: {error}; run it again to go on");
            progress.conclude(&text, json!({ "error": text }));
            ExitCode::FAILURE
        }
    }
}

fn begins(source: &Source, root: &Path) -> String {
    let form = match source.form() {
        Form::Registry => "a Docker registry",
        Form::Transship => "transship",
    };
    let (base, root) = (source.base().display(), root.display());
    format!("importing {base} of {form} into {root}")
}

fn figures(tally: &Tally, seconds: f64) -> Value {
    json!({
        "linked": tally.linked, "cloned": tally.cloned, "copied": tally.copied, "here": tally.here,
        "damaged": tally.damaged, "unreadable": tally.unreadable, "no_manifests": tally.no_manifest,
        "deleted_meanwhile": tally.vanished, "bytes": tally.bytes, "seconds": seconds,
    })
}

fn describe(path: &Path, trouble: &Trouble<'_>) -> String {
    let path = path.display();
    match trouble {
        Trouble::Damaged => format!("{path}: damaged: its bytes have another digest; passed over"),
        Trouble::Unreadable(error) => format!("{path}: unreadable: {error}; passed over"),
        Trouble::NoManifest => {
            format!(
                "{path}: a repository calls it a manifest, and it is none that is known; passed over"
            )
        }
        Trouble::Private => format!(
            "{path}: the owner of the store may not read it, so a link would be of no use; such files are copied"
        ),
        Trouble::DamagedHere => format!("{path}: was here already, damaged; taken away"),
    }
}

fn summary(tally: &Tally, seconds: f64) -> String {
    let mut text = format!(
        "{} linked, {} cloned, {} copied, {} here already, {} damaged, {} unreadable",
        tally.linked, tally.cloned, tally.copied, tally.here, tally.damaged, tally.unreadable
    );
    for (count, word) in [
        (tally.no_manifest, "no manifests"),
        (tally.vanished, "deleted meanwhile"),
    ] {
        if count > 0 {
            text += &format!(", {count} {word}");
        }
    }
    format!("{text}; {} imported in {seconds:.1} s", size(tally.bytes))
}
