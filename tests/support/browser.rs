//! A headless Chromium, steered by its DevTools protocol over a pair of pipes: no port, no driver beside it.
//!
//! What the page complains of (exceptions, console errors, violations of its policy) is gathered, so that a test
//! can say that there was none. The browser leads a process group of its own and ends with it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::until;

/// Descriptors 3 and 4 are where Chromium wants its pipes. Root needs `--no-sandbox`.
const START: &str = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
    --disable-crash-reporter --disable-background-networking --disable-component-update --no-first-run \
    --hide-scrollbars --remote-debugging-pipe --user-data-dir=\"$1\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";

/// Every text whose colour stands out too little from what is behind it (WCAG 2.2, AA).
const FAINT: &str = r"(() => {
  const parts = colour => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
  const behind = at => { for (; at; at = at.parentElement) { const c = parts(getComputedStyle(at).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
  const faint = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const at = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !at.getClientRects().length || ['SCRIPT', 'STYLE'].includes(at.tagName)) continue;
    const [a, b] = [light(parts(getComputedStyle(at).color)), light(behind(at))].sort((a, b) => b - a);
    if ((a + .05) / (b + .05) < 4.5) faint.push(walker.currentNode.data.trim());
  }
  return faint;
})()";

/// What reaches beyond the right edge of its panel, or of the window.
const WIDE: &str = "[...document.querySelectorAll('body *')].filter(at => at.scrollWidth > 0 && \
    at.getBoundingClientRect().right > (at.parentElement.closest('section') || document.documentElement).getBoundingClientRect().right + 0.5 && !at.closest('.cut')).map(at => at.outerHTML.slice(0, 80))";

/// A browser with one tab.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    last_id: u64,
    session: String,
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    pub fn start() -> Self {
        let profile = TempDir::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", START, "sh"]).arg(profile.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .process_group(0)
            .env("HOME", profile.path())
            .spawn()
            .expect("a shell");
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut browser = Self {
            child,
            to,
            from: BufReader::new(from),
            last_id: 0,
            session: String::new(),
            complaints: Vec::new(),
            _profile: profile,
        };
        let tab = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": tab["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", target);
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method of the protocol, and gathers what the page complains of meanwhile.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = Value::from(&*self.session);
        }
        self.to
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        loop {
            let mut answer = Vec::new();
            self.from.read_until(0, &mut answer).unwrap();
            assert_eq!(answer.pop(), Some(0), "the browser has gone");
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.heed(&answer);
        }
    }

    fn heed(&mut self, event: &Value) {
        let params = &event["params"];
        let is_bad = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Log.entryAdded") => params["entry"]["level"] == "error",
            Some("Runtime.consoleAPICalled") => params["type"] == "error",
            _ => false,
        };
        if is_bad {
            self.complaints.push(params.to_string());
        }
    }

    /// Returns what the page has complained of since this was asked last.
    pub fn complaints(&mut self) -> Vec<String> {
        // What happened before is told before the answer.
        self.eval("0");
        std::mem::take(&mut self.complaints)
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
    }

    /// Returns what an expression of JavaScript is, in the page; waits for what it promises.
    pub fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", params);
        let thrown = &result["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        result["result"]["value"].clone()
    }

    /// Returns the text that stands in an element, as a person sees it: none where it is not shown.
    pub fn text(&mut self, id: &str) -> String {
        let text = self.eval(&format!(
            "(at => at && at.checkVisibility() ? at.innerText : '')(document.getElementById('{id}'))"
        ));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until all these words stand in an element.
    #[track_caller]
    pub fn until_text(&mut self, id: &str, words: &[&str]) {
        let mut text = String::new();
        let mut holds = || {
            text = self.text(id);
            words.iter().all(|word| text.contains(word))
        };
        until(&format!("#{id} says {words:?}"), &mut holds);
    }

    /// Makes the window this wide, in a scheme of colours.
    pub fn look(&mut self, width: u32, scheme: &str) {
        let size = json!({
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Returns every text whose colour stands out too little from what is behind it.
    pub fn faint(&mut self) -> Value {
        self.eval(FAINT)
    }

    /// Returns what reaches beyond the right edge of its panel, or of the window.
    pub fn too_wide(&mut self) -> Value {
        self.eval(WIDE)
    }

    /// Writes a picture of the whole page.
    pub fn picture(&mut self, to: &Path) {
        let options = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.call("Page.captureScreenshot", options);
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }

    /// Presses a key as a keyboard does.
    pub fn press(&mut self, key: &str) {
        for kind in ["rawKeyDown", "keyUp"] {
            let code = match key {
                "Tab" => 9,
                "Enter" => 13,
                other => panic!("{other} has no code here"),
            };
            let mut event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if (kind, key) == ("rawKeyDown", "Enter") {
                event["type"] = json!("keyDown");
                event["text"] = json!("\r");
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The group may be gone already.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
