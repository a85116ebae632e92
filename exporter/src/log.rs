//! Lines of the log with the names that Prometheus' own programs use: `time`, `level`, `msg`, then what the event has.

use std::fmt::{self, Debug, Write as _};

use clap::ValueEnum;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// `name=value`, with quotes where they are needed.
    Logfmt,
    /// An object.
    Json,
}

/// Fields of a line, in their order.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((name(field), format!("{value:?}").into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((name(field), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((name(field), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((name(field), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((name(field), value.into()));
    }
}

fn name(field: &Field) -> &'static str {
    if field.name() == "message" { "msg" } else { field.name() }
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let mut fields = Fields(vec![("time", time.into()), ("level", level.into())]);
        event.record(&mut fields);
        // The sentence before its details.
        fields.0[2..].sort_by_key(|(name, _)| *name != "msg");
        writeln!(writer, "{}", self.line(&fields)?)
    }
}

impl Format {
    fn line(self, fields: &Fields) -> Result<String, fmt::Error> {
        let mut line = String::new();
        for (idx, (name, value)) in fields.0.iter().enumerate() {
            match self {
                Self::Logfmt => {
                    let space = if idx == 0 { "" } else { " " };
                    write!(line, "{space}{name}={}", bare(value))?;
                }
                Self::Json => {
                    let comma = if idx == 0 { "{" } else { "," };
                    write!(line, "{comma}\"{name}\":{value}")?;
                }
            }
        }
        if self == Self::Json {
            line.push('}');
        }
        Ok(line)
    }
}

/// A value as it stands, or in quotes with JSON's escapes, which every reader of logfmt takes.
fn bare(value: &Value) -> String {
    let is_plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"=\"\\".contains(&byte))
    };
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().event_format(format).with_writer(move || writer.clone());
        tracing::subscriber::with_default(subscriber.finish(), || {
            tracing::warn!(path = "/a b", n = 7, flag = true, "said \"no\"\nand left");
            tracing::info!(error = %"none", "plain");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn logfmt() {
        let text = logged(Format::Logfmt);
        let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert_eq!(lines[0].1, r#"level=warn msg="said \"no\"\nand left" path="/a b" n=7 flag=true"#);
        assert_eq!(lines[1].1, "level=info msg=plain error=none");
        let time = lines[0].0.strip_prefix("time=").unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    }

    #[test]
    fn json() {
        let text = logged(Format::Json);
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["msg"], "said \"no\"\nand left");
        assert_eq!((&first["level"], &first["n"], &first["flag"]), (&"warn".into(), &7.into(), &true.into()));
        assert!(text.starts_with("{\"time\":\"") && text.lines().count() == 2, "{text}");
    }
}
