//! A tab of headless Chromium, driven by its DevTools protocol over pipes: JSON messages that end with a zero byte.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

/// How long the browser may take for an answer, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two pictures on a screen.
const FRAME: Duration = Duration::from_millis(16);
/// Pixels. A telephone shows a page that does not name its width as if it had more.
const MOBILE_BELOW: u32 = 600;
/// The browser reads descriptor 3 and writes 4.
const SCRIPT: &str = r#"exec "$0" "$@" --remote-debugging-pipe 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"#;

#[derive(Debug)]
pub(super) struct Tab {
    browser: Child,
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    session: Option<String>,
    n_sent: u64,
}

impl Tab {
    /// Starts the browser with one tab.
    pub(super) fn open(program: &Path, profile: &Path) -> Result<Self> {
        let mut browser = Command::new("sh")
            .args(["-c", SCRIPT])
            .arg(program)
            // Its own sandbox cannot be made by root; the one page that it opens is ours.
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-breakpad"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the browser")?;
        let input = browser.stdin.take();
        let output = browser.stdout.take().context("the browser has no output")?;
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || read(output, &sender));
        let mut tab = Self { browser, input, messages, session: None, n_sent: 0 };
        let target = tab.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attached =
            tab.call("Target.attachToTarget", &json!({ "targetId": target["targetId"], "flatten": true }))?;
        tab.session = attached["sessionId"].as_str().map(str::to_owned);
        tab.call("Page.enable", &json!({}))?;
        tab.look("light", (1400, 1000))?;
        Ok(tab)
    }

    /// Shows a file.
    pub(super) fn show(&mut self, file: &Path) -> Result<()> {
        let file = file.canonicalize().with_context(|| format!("no file {}", file.display()))?;
        // From another page, as a mere change of the address would not load it again.
        for url in ["about:blank".to_owned(), format!("file://{}", file.display())] {
            let done = self.call("Page.navigate", &json!({ "url": url }))?;
            ensure!(done["errorText"].is_null(), "{url}: {}", done["errorText"]);
            self.expect("document.readyState", &json!("complete"))?;
        }
        Ok(())
    }

    /// Light or dark, and the width and height of the window; a narrow one is that of a telephone.
    pub(super) fn look(&mut self, scheme: &str, (width, height): (u32, u32)) -> Result<()> {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", &json!({ "features": [feature] }))?;
        let is_mobile = width < MOBILE_BELOW;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_mobile });
        self.call("Emulation.setDeviceMetricsOverride", &size).map(drop)
    }

    /// The value of an expression.
    pub(super) fn eval(&mut self, expression: &str) -> Result<Value> {
        let done = self.call(
            "Runtime.evaluate",
            &json!({ "expression": expression, "returnByValue": true, "replMode": true }),
        )?;
        ensure!(done["exceptionDetails"].is_null(), "{expression}: {}", done["exceptionDetails"]);
        Ok(done["result"]["value"].clone())
    }

    /// Asks until the expression has this value. One that throws has none yet: the page may just be loading itself again.
    pub(super) fn expect(&mut self, expression: &str, wanted: &Value) -> Result<()> {
        let begin = Instant::now();
        loop {
            let found = self.eval(expression);
            if found.as_ref().is_ok_and(|value| value == wanted) {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE / 6 {
                bail!("{expression} is {}, not {wanted}", found?);
            }
            // The next frame: nothing changes before. Not waited for in the page, which forgets it when it loads itself again.
            if let Err(RecvTimeoutError::Disconnected) = self.messages.recv_timeout(FRAME) {
                bail!("the browser has ended");
            }
        }
    }

    /// Presses a key.
    pub(super) fn press(&mut self, key: &str) -> Result<()> {
        let code = match key {
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            "Enter" => 13,
            "Escape" => 27,
            "/" => 191,
            other => bail!("no code for the key {other}"),
        };
        let text = match key {
            "Enter" => Some("\r"),
            "/" => Some("/"),
            _ => None,
        };
        let mut event = json!({ "type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code });
        if let Some(text) = text {
            event["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", &event)?;
        event["type"] = "keyUp".into();
        self.call("Input.dispatchKeyEvent", &event).map(drop)
    }

    /// Writes into what has the focus.
    pub(super) fn write(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", &json!({ "text": text })).map(drop)
    }

    /// A picture of the window, as PNG.
    pub(super) fn picture(&mut self) -> Result<Vec<u8>> {
        let done = self.call("Page.captureScreenshot", &json!({ "format": "png" }))?;
        decoded(done["data"].as_str().context("no picture came")?)
    }

    /// Ends the browser.
    pub(super) fn close(mut self) -> Result<()> {
        self.session = None;
        // It may be gone before it answers.
        drop(self.call("Browser.close", &json!({})));
        drop(self.input.take());
        self.browser.wait().map(drop).context("cannot wait for the browser")
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.n_sent += 1;
        let mut message = json!({ "id": self.n_sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        let input = self.input.as_mut().context("the browser is closed")?;
        input.write_all(&bytes).and_then(|()| input.flush()).with_context(|| format!("send {method}"))?;
        loop {
            let answer =
                self.messages.recv_timeout(PATIENCE).with_context(|| format!("no answer to {method}"))?;
            if answer["id"] == self.n_sent {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].clone());
            }
        }
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        // The normal end is `close`; this is for tests that failed.
        drop(self.browser.kill());
        drop(self.browser.wait());
    }
}

fn read(output: ChildStdout, sender: &mpsc::Sender<Value>) {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while output.read_until(0, &mut bytes).is_ok_and(|n| n > 0) {
        bytes.pop();
        if let Ok(message) = serde_json::from_slice(&bytes)
            && sender.send(message).is_err()
        {
            return;
        }
        bytes.clear();
    }
}

/// Base64 (RFC 4648, section 4).
fn decoded(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut n_bits) = (0_u32, 0);
    for c in text.bytes().take_while(|c| *c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => bail!("byte {other} is no Base64"),
        };
        (bits, n_bits) = (bits << 6 | u32::from(value), n_bits + 6);
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push(u8::try_from(bits >> n_bits & 0xff)?);
        }
    }
    Ok(bytes)
}

#[test]
fn base64_is_read() {
    assert_eq!(decoded("cG9kcHJvb2Y=").unwrap(), b"podproof");
    assert_eq!(decoded("").unwrap(), b"");
    assert!(decoded("?").is_err());
}
