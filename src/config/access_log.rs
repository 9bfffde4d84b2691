//! Where requests are logged: `transship.access_log`, and the registry's `log.accesslog`.

use std::path::PathBuf;

use super::read::{Reader, Spot};
use super::report::Origin;
use super::store_room;
use crate::access_log::{Format, Options, Target};

/// Smallest size at which a file is rotated: less than is written at once means a file for each piece.
const ROTATE_BYTES_MIN: u64 = 64 * 1024;

/// What `output` says.
enum Output {
    Off,
    Stdout,
    Journald,
    File(PathBuf),
}

/// Returns the access log's options; the inner `None` is no log.
pub(super) fn read(reader: &mut Reader, root: &Spot<'_>) -> Option<Option<Options>> {
    let section = root.find("transship.access_log");
    let output_spot = section.find("output");
    let output = reader.parsed(
        &output_spot,
        "off, stdout, journald or a path with a slash in it",
        output,
    );
    let format = reader.choice(&section.find("format"));
    let rotate_bytes = reader.parsed(
        &section.find("rotate_size"),
        "a size from 64KiB on such as 100MiB, or 0",
        |text| store_room::bytes(text).filter(|&size| size == 0 || size >= ROTATE_BYTES_MIN),
    );
    let rotate_keep = reader.integer(&section.find("rotate_keep"));
    let disabled_spot = root.find("log.accesslog.disabled");
    let is_disabled = match disabled_spot.node() {
        Some(_) => reader.boolean(&disabled_spot).map(Some),
        None => Some(None),
    };
    let (output, is_disabled) = (output?, is_disabled?);
    let output = match (output, is_disabled) {
        (Some(output), None | Some(false)) => output,
        (Some(output), Some(true)) => {
            if !matches!(output, Output::Off) {
                let text = "ignored: transship.access_log.output turns the access log on";
                let (origin, key) = (disabled_spot.origin(), &disabled_spot.shown);
                reader.report.warning(&origin, key, text);
            }
            output
        }
        (None, Some(false)) => Output::Stdout,
        (None, Some(true) | None) => {
            reader.row(&output_spot.shown, "off", Origin::Default);
            Output::Off
        }
    };
    let target = match output {
        Output::Off => return Some(None),
        Output::Stdout => Target::Stdout,
        Output::Journald => Target::Journald,
        Output::File(path) => Target::File {
            path,
            rotate_bytes: rotate_bytes??,
            rotate_keep: u32::try_from(rotate_keep??).ok()?,
        },
    };
    Some(Some(Options {
        target,
        format: match format?.as_str() {
            "json" => Format::Json,
            _ => Format::Combined,
        },
    }))
}

fn output(text: &str) -> Option<Output> {
    match text {
        // YAML 1.1 has `off` for false, and so has whoever writes `false`.
        "off" | "false" => Some(Output::Off),
        "stdout" => Some(Output::Stdout),
        "journald" => Some(Output::Journald),
        path if path.contains('/') && !path.contains('\0') => Some(Output::File(path.into())),
        _ => None,
    }
}
