//! What a page of the documentation consists of, as far as the harness cares: its blocks and their marks.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// Languages whose blocks hold commands: a block that names no language is taken for commands as well, so that
/// nothing escapes by leaving it out.
const COMMANDS: [&str; 4] = ["", "sh", "bash", "console"];

/// A page, named as in the repository: `docs/clients.md`.
pub struct Page {
    pub name: String,
    pub blocks: Vec<Block>,
    /// Where its links lead, as they are written.
    pub links: Vec<(usize, String)>,
    /// What its text has as code, with the lines.
    pub codes: Vec<(usize, String)>,
    /// Its headings, as the part of a URL behind `#`.
    pub anchors: Vec<String>,
}

/// A fenced or indented block.
pub struct Block {
    pub line: usize,
    pub language: String,
    pub text: String,
    /// What stands in the comment before it, trimmed.
    pub mark: Option<String>,
}

/// What a mark says about its block.
#[derive(Debug, PartialEq, Eq)]
pub enum Mark {
    /// The block is run in this stage; with an address it goes on running while the stage does, and the next one
    /// waits until that address takes connections.
    Run {
        stage: String,
        until: Option<String>,
    },
    /// The block is written to this path in this stage.
    File { stage: String, path: String },
    /// These tests run it, each as `room::test`.
    Tested(Vec<String>),
    /// Nothing runs it, and the mark says why.
    NotRun(String),
    /// A piece of a configuration, which does not hold by itself.
    Fragment,
    /// What this stage has said by its end, line by line; `…` is anything.
    Says { stage: String },
    /// What some program says that no stage can bring to say it, and why.
    NotSeen(String),
}

impl Block {
    pub fn is_commands(&self) -> bool {
        COMMANDS.contains(&self.language.as_str())
    }

    pub fn is_configuration(&self) -> bool {
        self.language == "yaml" && self.text.contains("version: 0.1")
    }

    /// Reads the mark; `Err` is what is wrong with it.
    pub fn mark(&self) -> Result<Option<Mark>, String> {
        self.mark.as_deref().map(parse).transpose()
    }
}

fn parse(mark: &str) -> Result<Mark, String> {
    if mark == "fragment" {
        return Ok(Mark::Fragment);
    }
    let (kind, rest) = mark.split_once(':').ok_or("not a mark")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    match (kind, &*words) {
        ("run", [stage]) => Ok(Mark::Run {
            stage: (*stage).to_owned(),
            until: None,
        }),
        ("run", [stage, "until", addr]) => Ok(Mark::Run {
            stage: (*stage).to_owned(),
            until: Some((*addr).to_owned()),
        }),
        ("file", [stage, path]) => Ok(Mark::File {
            stage: (*stage).to_owned(),
            path: (*path).to_owned(),
        }),
        ("says", [stage]) => Ok(Mark::Says {
            stage: (*stage).to_owned(),
        }),
        ("not seen", [_, ..]) => Ok(Mark::NotSeen(rest.trim().to_owned())),
        ("tested", [_, ..]) => Ok(Mark::Tested(
            words
                .iter()
                .map(|name| name.trim_end_matches(',').to_owned())
                .collect(),
        )),
        ("not run", [_, ..]) => Ok(Mark::NotRun(rest.trim().to_owned())),
        _ => Err(format!("not a mark: {mark:?}")),
    }
}

/// All pages whose blocks are held to their marks.
pub fn all() -> Vec<Page> {
    let root = root();
    let mut names: Vec<String> = fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|is| is == "md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    names.extend(["README.md", "packaging/README.md", "tuning/README.md"].map(str::to_owned));
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(root.join(&name)).unwrap();
            read(name, &text)
        })
        .collect()
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a page's text.
pub fn read(name: String, text: &str) -> Page {
    let mut page = Page {
        name,
        blocks: Vec::new(),
        links: Vec::new(),
        codes: Vec::new(),
        anchors: Vec::new(),
    };
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    let mut comment: Option<String> = None;
    let mut heading: Option<String> = None;
    let mut in_block = false;
    let options = Options::ENABLE_TABLES;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        if let Event::Code(code) = &event {
            page.codes.push((line_of(range.start), code.to_string()));
        }
        match event {
            Event::Start(Tag::HtmlBlock) => comment = Some(String::new()),
            Event::Html(html) => {
                if let Some(comment) = &mut comment {
                    *comment += &html;
                }
            }
            Event::End(TagEnd::HtmlBlock) => {}
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.to_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                in_block = true;
                page.blocks.push(Block {
                    line: line_of(range.start),
                    language,
                    text: String::new(),
                    mark: comment.take().as_deref().and_then(inside),
                });
            }
            Event::End(TagEnd::CodeBlock) => in_block = false,
            Event::Text(text) if in_block => {
                page.blocks.last_mut().expect("its start came").text += &text;
            }
            Event::Start(Tag::Heading { .. }) => {
                comment = None;
                heading = Some(String::new());
            }
            Event::End(TagEnd::Heading(_)) => {
                page.anchors.extend(heading.take().as_deref().map(anchor));
            }
            Event::Text(text) | Event::Code(text) if heading.is_some() => {
                *heading.as_mut().expect("as matched") += &text;
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                comment = None;
                let line = line_of(range.start);
                page.links.push((line, dest_url.to_string()));
            }
            // A mark is for the block that follows it at once.
            _ => comment = None,
        }
    }
    page
}

/// What stands in a comment of its own.
fn inside(html: &str) -> Option<String> {
    let text = html.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    Some(text.trim().to_owned())
}

/// The name that forges give to a heading.
fn anchor(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.collect()
}
