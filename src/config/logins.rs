//! What files of users and of keys have to look like. A remark never holds a line of one.

use std::os::unix::fs::PermissionsExt as _;

use super::FileUse;
use super::report::Report;

/// Length of a bcrypt hash in its text form, in bytes.
const BCRYPT_BYTES: usize = 60;

/// Most line numbers that one remark names.
const LINES_SHOWN_MAX: usize = 5;

/// Remarks on a file of users and bcrypt hashes.
///
/// Source: distribution 3.1.1, `registry/auth/htpasswd/htpasswd.go`: empty lines and comments are skipped, a
/// line without a colon spoils the file, a hash that is not bcrypt lets nobody in.
pub(super) fn passwords(file: &FileUse, content: &[u8], report: &mut Report) {
    let shown = file.path.display();
    let Ok(text) = std::str::from_utf8(content) else {
        let text = format!("{shown} is not a text");
        report.problem(&file.origin, &file.key, text);
        return;
    };
    let (mut malformed, mut useless, mut users) = (Vec::new(), Vec::new(), 0_usize);
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(':') {
            None | Some(("", _)) => malformed.push(index + 1),
            Some((_, hash)) if !is_bcrypt(hash) => useless.push(index + 1),
            Some(_) => users += 1,
        }
    }
    if !malformed.is_empty() {
        let text = format!("{shown}: {} not user:hash", lines(&malformed));
        report.problem(&file.origin, &file.key, text);
    } else if users == 0 {
        let text =
            format!("{shown} holds no user with a bcrypt hash: add one (htpasswd -B {shown} USER)");
        report.problem(&file.origin, &file.key, text);
    } else if !useless.is_empty() {
        let text = format!(
            "{shown}: {} not bcrypt, so that nobody can log in by it: set the password anew (htpasswd -B)",
            lines(&useless)
        );
        report.warning(&file.origin, &file.key, text);
    }
    let mode = std::fs::metadata(&file.path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o004 != 0 {
        let text = format!("every user of this machine can read {shown}: chmod o-r it");
        report.warning(&file.origin, &file.key, text);
    }
}

/// Says whether `hash` is `$2a$`, `$2b$` or `$2y$`, a cost of two digits, and 53 characters after it.
fn is_bcrypt(hash: &str) -> bool {
    let cost_and_rest = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .find_map(|version| hash.strip_prefix(version));
    let Some((cost, rest)) = cost_and_rest.and_then(|after| after.split_once('$')) else {
        return false;
    };
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
    hash.len() == BCRYPT_BYTES
        && cost.len() == 2
        && cost.bytes().all(|byte| byte.is_ascii_digit())
        && rest.bytes().all(is_digit)
}

/// Returns the beginning of a sentence about these lines.
fn lines(numbers: &[usize]) -> String {
    let shown: Vec<_> = numbers
        .iter()
        .take(LINES_SHOWN_MAX)
        .map(usize::to_string)
        .collect();
    let more = if numbers.len() > LINES_SHOWN_MAX {
        ", …"
    } else {
        ""
    };
    match numbers {
        [one] => format!("line {one} is"),
        _ => format!("lines {}{more} are", shown.join(", ")),
    }
}

/// Remarks on a JWK set. Whether its keys are of use shows when they are read to be used.
pub(super) fn key_set(file: &FileUse, content: &[u8], report: &mut Report) {
    let fault = match serde_json::from_slice::<serde_json::Value>(content) {
        Err(error) => format!(
            "is not JSON (line {}, column {})",
            error.line(),
            error.column()
        ),
        Ok(set) => match set.get("keys").and_then(|keys| keys.as_array()) {
            None => "is not a JWK set: want {\"keys\": […]}".to_owned(),
            Some(keys) if keys.is_empty() => "holds no key".to_owned(),
            Some(_) => return,
        },
    };
    let text = format!("{} {fault}", file.path.display());
    report.problem(&file.origin, &file.key, text);
}
