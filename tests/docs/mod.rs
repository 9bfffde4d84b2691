//! The documentation does what it says: its commands are run, its configurations hold, its links lead somewhere.
//!
//! Pages are README.md, docs/*.md, packaging/README.md and tuning/README.md. A block of commands (indented, fenced
//! without a language, or as `sh`, `bash` or `console`) has a comment before it that says who runs it:
//!
//! ```text
//! <!-- run: STAGE -->                     this harness, by bash -eu, in the order of the page
//! <!-- run: STAGE until HOST:PORT -->     the same, in the background: the next block waits for that address
//! <!-- tested: room::test -->             that test of tests/, with addresses of its own
//! <!-- not run: WHY -->                   nobody
//! ```
//!
//! What programs say is fenced as `text`; on the pages for those who look for a message each such block has
//!
//! ```text
//! <!-- says: STAGE -->                    each line is somewhere in what that stage has said, `…` being anything
//! <!-- not seen: WHY -->                  no stage can bring a program to say it
//! ```
//!
//! All else is fenced with its language, or as `text`. YAML with `version: 0.1` in it is put before `transship check`
//! unless it is marked `<!-- fragment -->`. A block of any language with `<!-- file: STAGE PATH -->` is written to that
//! path before the next block of the stage is run: configurations of a page are those that its commands use.
//!
//! `TRANSSHIP_DOCS=NAME` runs the stages whose page or name has NAME in it, and shows what they say.

mod page;
mod stage;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use page::{Mark, Page, root};
use stage::Stage;

/// Says all that is wrong at once.
#[track_caller]
fn expect_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_block_of_commands_says_who_runs_it() {
    // A command that nobody runs is wrong by the next release, and is found so by a reader in trouble.
    let mut wrong = Vec::new();
    for page in page::all() {
        for block in &page.blocks {
            let at = format!("{}:{}", page.name, block.line);
            match block.mark() {
                Err(why) => wrong.push(format!("{at}: {why}")),
                Ok(None) if block.is_commands() => {
                    wrong.push(format!("{at}: commands without a mark: {}", block.text));
                }
                Ok(Some(Mark::Run { .. })) if !block.is_commands() => {
                    wrong.push(format!("{at}: a block of {} is run", block.language));
                }
                Ok(Some(Mark::Tested(names))) => {
                    let missing = names.iter().filter(|name| !is_test(name));
                    wrong.extend(missing.map(|name| format!("{at}: there is no test {name}")));
                }
                Ok(_) => {}
            }
        }
    }
    expect_none(&wrong);
}

/// Whether tests/ has this `room::test` or `room::file::test`.
fn is_test(name: &str) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let tests = root().join("tests");
    let (files, test): (Vec<PathBuf>, &str) = match *parts {
        [room, test] => {
            let in_room = fs::read_dir(tests.join(room)).into_iter().flatten();
            let in_room = in_room.map(|entry| entry.unwrap().path());
            let alone = tests.join(format!("{room}.rs"));
            (in_room.chain([alone]).collect(), test)
        }
        [room, file, test] => (vec![tests.join(room).join(format!("{file}.rs"))], test),
        _ => return false,
    };
    let has = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let parts: Vec<&str> = text.split("#[test]").collect();
        parts[1..].iter().any(|part| {
            part.split_once("fn ")
                .is_some_and(|(_, rest)| rest.starts_with(&format!("{test}(")))
        })
    };
    files.iter().any(has)
}

#[test]
fn links_lead_to_pages_and_headings_that_are_there() {
    let pages = page::all();
    let mut wrong = Vec::new();
    for page in &pages {
        let elsewhere = |link: &str| link.contains("://") || link.starts_with("mailto:");
        for (line, link) in page.links.iter().filter(|(_, link)| !elsewhere(link)) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = match path {
                "" => page.name.clone(),
                _ => normal(&format!("{folder}/{path}")),
            };
            let known = pages.iter().find(|page| page.name == target);
            let has = |page: &Page| page.anchors.iter().any(|known| known == anchor);
            if !root().join(&target).exists() || !anchor.is_empty() && !known.is_some_and(has) {
                wrong.push(format!("{}:{line}: {link} leads nowhere", page.name));
            }
        }
    }
    expect_none(&wrong);
}

/// A path without `..` and empty parts.
fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn the_index_has_every_page() {
    let pages = page::all();
    let index = pages.iter().find(|page| page.name == "docs/README.md");
    let index = index.expect("docs/README.md");
    let linked: BTreeSet<String> = index
        .links
        .iter()
        .map(|(_, link)| {
            normal(&format!(
                "docs/{}",
                link.split('#').next().unwrap_or_default()
            ))
        })
        .collect();
    let missing: Vec<String> = pages
        .iter()
        .filter(|page| page.name != index.name && !linked.contains(&page.name))
        .map(|page| format!("docs/README.md does not mention {}", page.name))
        .collect();
    expect_none(&missing);
}

#[test]
fn every_script_belongs_to_a_stage() {
    // What a page no longer does would go on looking tested.
    let pages = page::all();
    let stages: BTreeSet<String> = pages
        .iter()
        .flat_map(stage::of)
        .map(Stage::into_name)
        .collect();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(root().join("tests/docs/stages")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".sh") else {
            continue;
        };
        let name = name.trim_end_matches(".after");
        if !stages.contains(name) && !["common", "configurations"].contains(&name) {
            wrong.push(format!("{file}: no page has this stage"));
        }
    }
    expect_none(&wrong);
}

#[test]
fn configurations_hold() {
    let mut stage = Stage::new("configurations".to_owned(), "configurations".to_owned());
    stage.push("bad=0\n");
    let mut count = 0;
    for page in page::all() {
        for block in page.blocks.iter().filter(|block| block.is_configuration()) {
            if block.mark() == Ok(Some(Mark::Fragment)) {
                continue;
            }
            count += 1;
            let file = format!("{count}.yml");
            // A directory of containers, which this machine has no reason to have.
            stage.write(&file, &block.text.replace("/certs/", "/run/certs/"));
            stage.push(&format!(
                "transship check {file} >said 2>&1 || {{ bad=1; echo '{}:{}' && cat said; }}\n",
                page.name, block.line
            ));
        }
    }
    stage.push("((bad == 0))\n");
    assert!(count > 3, "only {count} configurations were found");
    stage.run().unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn what_programs_say_is_quoted_from_a_run() {
    // Whoever is in trouble looks for the words on the screen: a message that was changed is not found any more.
    let mut wrong = Vec::new();
    for page in page::all() {
        if !["docs/operations.md", "docs/troubleshooting.md"].contains(&page.name.as_str()) {
            continue;
        }
        for block in page.blocks.iter().filter(|block| block.language == "text") {
            if !matches!(block.mark(), Ok(Some(Mark::Says { .. } | Mark::NotSeen(_)))) {
                wrong.push(format!("{}:{}: who says it?", page.name, block.line));
            }
        }
    }
    expect_none(&wrong);
}

#[test]
fn every_alert_leads_to_what_to_do() {
    // Somebody who is woken has the page's address and no time to look for the place in it.
    let rules = fs::read_to_string(root().join("docs/prometheus/transship.rules.yml")).unwrap();
    let pages = page::all();
    let operations = pages.iter().find(|page| page.name == "docs/operations.md");
    let anchors = &operations.expect("docs/operations.md").anchors;
    let value = |line: &str, key: &str| Some(line.trim().strip_prefix(key)?.trim().to_owned());
    let names = rules.lines().filter_map(|line| value(line, "- alert:"));
    let pages = rules.lines().filter_map(|line| value(line, "page:"));
    let wanted: Vec<String> = names.map(|name| name.to_lowercase()).collect();
    let linked: Vec<String> = pages
        .map(|page| page.trim_matches('"').replace("docs/operations.md#", ""))
        .collect();
    assert_eq!(wanted, linked);
    let missing: Vec<String> = wanted
        .into_iter()
        .filter(|name| !anchors.contains(name))
        .collect();
    expect_none(&missing);
}

#[test]
fn a_stage_fails_where_it_does_not_say_what_the_page_quotes() {
    let text = "<!-- run: x -->\n    echo one 2 three\n\n<!-- says: x -->\n```text\none … three\none … four\n```\n";
    let stages = stage::of(&page::read("x.md".to_owned(), text));
    let said = stages[0].run().unwrap_err();
    assert!(said.contains("x.md:5: was not said: one … four"), "{said}");
    assert!(!said.contains("not said: one … three"), "{said}");
    assert!(stage::is_like("b a c", "a … c") && !stage::is_like("c a b", "a … c"));
}

#[test]
fn the_commands_of_the_pages_work() {
    let only = std::env::var("TRANSSHIP_DOCS").unwrap_or_default();
    let stages: Vec<Stage> = page::all().iter().flat_map(stage::of).collect();
    let wanted = stages
        .into_iter()
        .filter(|stage| stage.title.contains(&only));
    let queue = Mutex::new(wanted);
    let wrong = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap().next();
            let Some(stage) = next else {
                return;
            };
            if let Err(said) = stage.run() {
                wrong.lock().unwrap().push(said);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    expect_none(&wrong.into_inner().unwrap());
}

#[test]
fn marks_are_read_as_they_are_written() {
    let text = "# A page: of `it`\n\n<!-- run: one -->\n    first\n    second\n\n\
                <!-- run: one until 127.0.0.1:5000 -->\n\n```sh\nserve\n```\n\n<!-- not run: kernel -->\n\ntext\n\n    third\n\n\
                - item\n\n  <!-- file: one /etc/x.yml -->\n  ```yaml\n  version: 0.1\n  ```\n[a](docs/x.md#y)\n";
    let page = page::read("x.md".to_owned(), text);
    let marks: Vec<Option<Mark>> = page
        .blocks
        .iter()
        .map(|block| block.mark().unwrap())
        .collect();
    let run = |until: Option<&str>| {
        let until = until.map(str::to_owned);
        let stage = "one".to_owned();
        Some(Mark::Run { stage, until })
    };
    let file = Mark::File {
        stage: "one".to_owned(),
        path: "/etc/x.yml".to_owned(),
    };
    assert_eq!(
        marks,
        [run(None), run(Some("127.0.0.1:5000")), None, Some(file)]
    );
    assert_eq!(page.blocks[0].text, "first\nsecond\n");
    assert_eq!(page.blocks[0].line, 4);
    assert!(page.blocks[2].is_commands() && !page.blocks[3].is_commands());
    assert!(page.blocks[3].is_configuration());
    assert_eq!(page.anchors, ["a-page-of-it"]);
    assert_eq!(page.links.len(), 1);
    let bad = page::read("x.md".to_owned(), "<!-- runs: x -->\n\n    x\n");
    assert!(bad.blocks[0].mark().is_err());
}

#[test]
fn a_stage_fails_where_a_command_does() {
    // A harness that lets a failing command pass holds nothing up.
    let text = "<!-- run: x -->\n    true\n\n<!-- run: x -->\n    false\n    true\n";
    let stages = stage::of(&page::read("x.md".to_owned(), text));
    let said = stages[0].run().unwrap_err();
    assert!(
        said.contains("== x.md:5") && !said.contains("== the end"),
        "{said}"
    );
    assert!(is_test("docs::a_stage_fails_where_a_command_does"));
    assert!(is_test("docs::mod::configurations_hold") && !is_test("docs::all"));
}
