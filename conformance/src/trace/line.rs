//! A line of the trace as a structure, and its two looks: plain, and coloured for a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

/// Columns of the time, in seconds with microseconds.
const TIME_WIDTH: usize = 11;
/// Columns of who acts: a name of up to 15 bytes, a number of up to 7 digits, a small number inside. Longer ones push.
const WHO_WIDTH: usize = 23;
/// Columns of a line that must not be overlooked.
const GAP_WIDTH: usize = 78;

/// What a piece of a line is about, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Words.
    Plain,
    /// A process.
    Process,
    /// Namespaces.
    Namespace,
    /// A cgroup.
    Cgroup,
    /// A program, a mount point, a file.
    Path,
    /// A signal.
    Signal,
    /// An error, or an end that is one.
    Bad,
    /// What matters less.
    Dim,
}

impl Ink {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Process => AnsiColor::Cyan.on_default(),
            Self::Namespace => AnsiColor::Green.on_default(),
            Self::Cgroup => AnsiColor::Magenta.on_default(),
            Self::Path => AnsiColor::Blue.on_default().bold(),
            Self::Signal => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Dim => Style::new().dimmed(),
        }
    }
}

/// A sentence in pieces. Names and paths come from the traced programs: control characters in them are escaped, so
/// that none of them can write to the reader's terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    pieces: Vec<(Ink, String)>,
}

impl Text {
    /// Begins with words.
    #[must_use]
    pub fn of(words: &str) -> Self {
        Self::default().say(words)
    }

    /// Adds words.
    #[must_use]
    pub fn say(self, words: &str) -> Self {
        self.ink(Ink::Plain, words)
    }

    /// Adds a piece.
    #[must_use]
    pub fn ink(mut self, ink: Ink, piece: &str) -> Self {
        if !piece.is_empty() {
            self.pieces.push((ink, printable(piece)));
        }
        self
    }

    /// Adds another text.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.pieces.extend(other.pieces);
        self
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Without colours.
    #[must_use]
    pub fn plain(&self) -> String {
        self.pieces.iter().map(|(_, piece)| piece.as_str()).collect()
    }

    fn coloured(&self) -> String {
        self.pieces.iter().map(|(ink, piece)| painted(ink.style(), piece)).collect()
    }
}

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// With the colours of a terminal.
    pub colour: bool,
    /// With the hook that showed it.
    pub source: bool,
}

/// One event in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Time since the first event that the narrator told.
    pub time: Duration,
    /// Who acts: `pause 4713/1` is process 4713 of the node, 1 in its own pid namespace. `kernel` where no process does.
    pub who: String,
    /// What it does.
    pub what: Text,
    /// The hook with its mechanism.
    pub source: String,
    /// Records are missing here: the line is one that nobody overlooks.
    pub is_gap: bool,
}

impl Line {
    /// Who does what, in one sentence without colours.
    #[must_use]
    pub fn sentence(&self) -> String {
        if self.is_gap { self.what.plain() } else { format!("{} {}", self.who, self.what.plain()) }
    }

    /// The line in columns, without its end of line.
    #[must_use]
    pub fn render(&self, look: Look) -> String {
        let time = format!("{:>TIME_WIDTH$.6}", self.time.as_secs_f64());
        let paint = |style: Style, piece: &str| match look.colour {
            true => painted(style, piece),
            false => piece.to_owned(),
        };
        let dim = Ink::Dim.style();
        if self.is_gap {
            let said = format!(" {} ", self.what.plain());
            let alarm = Style::new().bold().fg_color(Some(AnsiColor::White.into()));
            let alarm = alarm.bg_color(Some(AnsiColor::Red.into()));
            return format!("{}  {}", paint(dim, &time), paint(alarm, &format!("{said:-^GAP_WIDTH$}")));
        }
        let who = format!("{:<WHO_WIDTH$}", self.who);
        let what = if look.colour { self.what.coloured() } else { self.what.plain() };
        let who_style = if self.who == super::narrator::KERNEL { dim } else { Ink::Process.style() };
        let mut line = format!("{}  {}  {what}", paint(dim, &time), paint(who_style, &who));
        if look.source {
            line.push_str(&paint(dim, &format!("  [{}]", self.source)));
        }
        line
    }
}

fn painted(style: Style, piece: &str) -> String {
    if style == Style::new() { piece.to_owned() } else { format!("{style}{piece}{style:#}") }
}

/// The text with its control characters escaped, so that it cannot write to a terminal.
pub(crate) fn printable(piece: &str) -> String {
    if !piece.contains(char::is_control) {
        return piece.to_owned();
    }
    let mut escaped = String::new();
    for character in piece.chars() {
        if character.is_control() {
            // Writing to a String cannot fail.
            _ = write!(escaped, "{}", character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            time: Duration::from_micros(1_250),
            who: "sh 41".into(),
            what: Text::of("executes ").ink(Ink::Path, "/bin/true"),
            source: "tp_btf/sched_process_exec".into(),
            is_gap: false,
        }
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(
            line().render(Look::default()),
            "   0.001250  sh 41                    executes /bin/true"
        );
        let source = Look { source: true, colour: false };
        assert!(line().render(source).ends_with("executes /bin/true  [tp_btf/sched_process_exec]"));
    }

    #[test]
    fn colours_come_only_when_wanted_and_change_no_word() {
        let plain = line().render(Look { source: true, colour: false });
        assert!(!plain.contains('\x1b'));
        let coloured = line().render(Look { source: true, colour: true });
        assert!(coloured.contains("\x1b[36m"));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }

    #[test]
    fn a_gap_fills_the_line() {
        let gap = Line { is_gap: true, what: Text::of("12 records lost here"), ..line() };
        let shown = gap.render(Look::default());
        assert!(shown.ends_with("------- 12 records lost here ----------------------------"), "{shown}");
        assert!(gap.render(Look { colour: true, source: false }).contains("\x1b[1m"));
    }

    #[test]
    fn a_traced_name_cannot_write_to_the_terminal() {
        let text = Text::of("executes ").ink(Ink::Path, "/tmp/\x1b]0;owned\x07\n");
        assert_eq!(text.plain(), "executes /tmp/\\u{1b}]0;owned\\u{7}\\n");
    }
}
