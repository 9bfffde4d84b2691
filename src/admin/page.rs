//! One response of the admin address.

use std::time::SystemTime;

use serde::Serialize;

use crate::http::{Connection, Framing, ResponseHead};

/// One response.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) media_type: &'static str,
    pub(super) body: String,
    /// Methods, where another one was used.
    pub(super) allow: Option<String>,
    /// What a browser may do with it, where it is a document.
    pub(super) policy: &'static [(&'static str, &'static str)],
    /// The body is left out.
    pub(super) is_head: bool,
    /// What is done once it has been sent.
    pub(super) then: Then,
}

/// What is done once a response has been sent: it could not be sent afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Drain,
}

/// The body of every error.
#[derive(Serialize)]
struct Failed<'a> {
    error: Words<'a>,
}

#[derive(Serialize)]
struct Words<'a> {
    code: &'a str,
    message: &'a str,
}

impl Page {
    pub(super) fn new(status: u16, media_type: &'static str, body: String) -> Self {
        Self {
            status,
            media_type,
            body,
            allow: None,
            policy: &[],
            is_head: false,
            then: Then::Nothing,
        }
    }

    pub(super) fn text(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.into())
    }

    pub(super) fn json(status: u16, value: &impl Serialize) -> Self {
        // Fails only for maps whose keys are no texts, of which there are none.
        let body = serde_json::to_string(value).unwrap_or_default();
        Self::new(status, "application/json", body + "\n")
    }

    /// An error, with a code for programs and a sentence for people.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let error = Words { code, message };
        Self::json(status, &Failed { error })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut output = Vec::new();
        let date = httpdate::fmt_http_date(SystemTime::now());
        let mut head = ResponseHead::begin(&mut output, self.status, &date)
            .field("Content-Type", self.media_type)
            .field("Cache-Control", "no-store")
            // What names come from clients and registries is shown to people.
            .field("X-Content-Type-Options", "nosniff");
        if let Some(allow) = &self.allow {
            head = head.field("Allow", allow);
        }
        for (name, value) in self.policy {
            head = head.field(name, value);
        }
        if self.status == 401 {
            head = head.field("WWW-Authenticate", "Bearer realm=\"transship admin\"");
        }
        head.finish(Framing::Length(self.body.len() as u64), Connection::Close);
        if !self.is_head {
            output.extend_from_slice(self.body.as_bytes());
        }
        output
    }
}
