//! `transship check`: the effective configuration, where each value comes from, and what is wrong or odd.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::json;

use crate::config::{self, Remark, Sources, Value};

/// Prints what `sources` mean to `out`; 0 if a server would start with them, 1 if not.
pub(super) fn run(sources: &Sources, is_json: bool, out: &mut impl Write) -> ExitCode {
    let (values, warnings, problems) = match config::load(sources) {
        Ok(mut effective) => {
            let linted = effective.lint(SystemTime::now());
            let problems = linted.map_or_else(|failure| failure.problems, |()| Vec::new());
            (effective.values, effective.warnings, problems)
        }
        Err(failure) => (Vec::new(), failure.warnings, failure.problems),
    };
    tell(&values, &warnings, &problems, is_json, out)
}

/// Prints what `sources` mean to a gateway to `out`; 0 if one would start with them, 1 if not.
pub(super) fn run_gateway(sources: &Sources, out: &mut impl Write) -> ExitCode {
    match config::load_gateway(sources, SystemTime::now()) {
        Ok(gateway) => tell(&gateway.values, &gateway.warnings, &[], false, out),
        Err(failure) => tell(&[], &failure.warnings, &failure.problems, false, out),
    }
}

fn tell(
    values: &[Value],
    warnings: &[Remark],
    problems: &[Remark],
    is_json: bool,
    out: &mut impl Write,
) -> ExitCode {
    // A reader that has gone changes nothing about the answer.
    let _ = match is_json {
        true => print_json(values, warnings, problems, out),
        false => print(values, warnings, problems, out),
    };
    if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print(
    values: &[Value],
    warnings: &[Remark],
    problems: &[Remark],
    out: &mut impl Write,
) -> io::Result<()> {
    if !values.is_empty() {
        table(values, out)?;
        writeln!(out)?;
    }
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    for problem in problems {
        writeln!(out, "error: {problem}")?;
    }
    match (problems.len(), warnings.len()) {
        (0, 0) => writeln!(out, "The configuration holds."),
        (0, warnings) => writeln!(
            out,
            "The configuration holds, with {}.",
            count(warnings, "warning")
        ),
        (problems, _) => writeln!(out, "The configuration has {}.", count(problems, "error")),
    }?;
    out.flush()
}

fn print_json(
    values: &[Value],
    warnings: &[Remark],
    problems: &[Remark],
    out: &mut impl Write,
) -> io::Result<()> {
    let told = |remarks: &[Remark]| remarks.iter().map(ToString::to_string).collect::<Vec<_>>();
    let value = |value: &Value| json!({ "key": value.key, "value": value.value, "from": value.origin.to_string() });
    let all = json!({
        "holds": problems.is_empty(),
        "values": values.iter().map(value).collect::<Vec<_>>(),
        "warnings": told(warnings),
        "problems": told(problems),
    });
    writeln!(out, "{all:#}")?;
    out.flush()
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Widest value that the columns make room for, in characters; a longer one pushes its own line out.
const VALUE_CHARS_MAX: usize = 48;

/// Prints one line a value, in columns.
fn table(values: &[Value], out: &mut impl Write) -> io::Result<()> {
    let shown: Vec<(String, String, String)> = values
        .iter()
        .map(|value| {
            (
                value.key.clone(),
                printable(&value.value),
                value.origin.to_string(),
            )
        })
        .collect();
    let key_chars = width(shown.iter().map(|(key, _, _)| key));
    let value_chars = width(shown.iter().map(|(_, value, _)| value)).min(VALUE_CHARS_MAX);
    writeln!(out, "{:key_chars$}  {:value_chars$}  FROM", "KEY", "VALUE")?;
    for (key, value, origin) in shown {
        writeln!(out, "{key:key_chars$}  {value:value_chars$}  {origin}")?;
    }
    Ok(())
}

/// Returns `text` with control characters escaped, which could garble a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped: Vec<char> = if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            };
            escaped
        })
        .collect()
}

fn width<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts
        .map(|text| text.chars().count())
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, storage: &str) -> (ExitCode, String) {
        let mut sources = Sources {
            file: Some(("c.yml".into(), text.to_owned())),
            ..Sources::default()
        };
        sources.flags.storage = Some(storage.to_owned());
        let mut out = Vec::new();
        let code = run(&sources, false, &mut out);
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_value_is_printed_with_where_it_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/b");
        let text = "version: 0.1\nhttp: {addr: '[::1]:80', host: x}\nproxy: {remoteurl: https://r.example, username: u, password: hunter2}\n";
        let (code, out) = check(text, root.to_str().unwrap());
        assert_eq!(code, ExitCode::SUCCESS, "{out}");
        let line = |key: &str| {
            let words = out.lines().find(|line| line.split(' ').next() == Some(key));
            words
                .unwrap()
                .split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(line("http.addr"), "[::1]:80 c.yml:2:14");
        assert_eq!(line("http.draintimeout"), "30s default");
        assert_eq!(line("proxy.password"), "(hidden) c.yml:3:62");
        assert!(line("storage.filesystem.rootdirectory").ends_with("flag --storage"));
        assert!(out.contains("warning: c.yml:2:26: http.host: ignored"));
        assert!(out.ends_with("The configuration holds, with 1 warning.\n"));
        assert!(!out.contains("hunter2"));
        assert!(!root.exists(), "a check makes nothing");
    }

    #[test]
    fn a_script_is_told_the_same() {
        let told = |text: &str| {
            let sources = Sources {
                file: Some(("c.yml".into(), text.to_owned())),
                ..Sources::default()
            };
            let mut out = Vec::new();
            let code = run(&sources, true, &mut out);
            let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(told["holds"], code == ExitCode::SUCCESS);
            told
        };
        let bad = told("version: 0.1\nhttp: {addr: x}\n");
        let problems = bad["problems"].as_array().unwrap();
        assert!(
            problems.len() == 1 && problems[0].as_str().unwrap().contains("http.addr"),
            "{bad}"
        );
        let odd = told(
            "version: 0.1\nhttp: {addr: '127.0.0.1:5000', host: x}\nproxy: {remoteurl: 'https://r.example', username: u, password: hunter2}\n",
        );
        assert_eq!(odd["warnings"].as_array().map(Vec::len), Some(1), "{odd}");
        assert!(
            !odd.to_string().contains("hunter2") && !odd["values"].as_array().unwrap().is_empty()
        );
    }

    #[test]
    fn what_does_not_hold_is_told_and_fails() {
        let (code, out) = check("version: 0.1\nhttp: {addr: x, tls: {key: /k}}\n", "/tmp");
        assert_eq!(code, ExitCode::FAILURE);
        assert!(
            out.contains("error: c.yml:2:14: http.addr: \"x\" is not accepted"),
            "{out}"
        );
        assert!(out.ends_with("The configuration has 2 errors.\n"), "{out}");

        let (code, out) = check("version: 0.1\n", "/dev/null/below");
        assert_eq!(code, ExitCode::FAILURE);
        assert!(
            out.starts_with("KEY "),
            "values are shown along with what files lack: {out}"
        );
        assert!(
            out.contains("error: flag --storage: storage.filesystem.rootdirectory"),
            "{out}"
        );
    }
}
