//! What is written is read: by properties, across rotations, after crashes, while it grows.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use tempfile::TempDir;

use super::record::{CONTENT_MAX, Parsed, parse};
use super::*;

const NO_ROTATION: Limits = Limits { max_bytes: u64::MAX, max_files: 1 };

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

/// A directory, and the path of a log in it.
fn place() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("0.log");
    (temp, path)
}

fn show_with(path: &Path, options: &Options<'_>) -> (Vec<u8>, Vec<u8>, Summary) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let summary = read(path, options, &mut out, &mut err, || true).unwrap();
    (out, err, summary)
}

fn show(path: &Path, options: &Options<'_>) -> (String, String) {
    let (out, err, _) = show_with(path, options);
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn write_lines(path: &Path, limits: Limits, lines: &[(Stream, &str)]) {
    let mut log = LogWriter::open(path, limits).unwrap();
    for (second, (stream, line)) in (0..).zip(lines) {
        log.write(*stream, line.as_bytes(), time(second)).unwrap();
    }
    log.finish(time(0)).unwrap();
}

use Stream::{Stderr as E, Stdout as O};

#[test]
fn records_are_those_of_the_cri() {
    let (_temp, path) = place();
    write_lines(&path, NO_ROTATION, &[(O, "a\nb"), (E, "\n"), (O, "c\r\n"), (E, "rest")]);
    let expected = "2023-11-14T22:13:20.000000000Z stdout F a\n\
        2023-11-14T22:13:21.000000000Z stderr F \n\
        2023-11-14T22:13:22.000000000Z stdout F bc\r\n\
        2023-11-14T22:13:20.000000000Z stderr P rest\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(show(&path, &Options::default()), ("a\nbc\r\n".to_owned(), "\nrest".to_owned()));
}

#[test]
fn a_line_is_split_only_beyond_16_kib() {
    for (length, tags) in [(CONTENT_MAX, "F"), (CONTENT_MAX + 1, "PF"), (3 * CONTENT_MAX, "PPF")] {
        for chunk in [1000, CONTENT_MAX, 5 * CONTENT_MAX] {
            let (_temp, path) = place();
            let mut line = vec![b'x'; length];
            line.push(b'\n');
            let mut log = LogWriter::open(&path, NO_ROTATION).unwrap();
            for chunk in line.chunks(chunk) {
                log.write(O, chunk, time(0)).unwrap();
            }
            let text = fs::read_to_string(&path).unwrap();
            let found: String = text.lines().map(|line| &line[38..39]).collect();
            assert_eq!(found, tags, "{length} bytes in chunks of {chunk}");
            assert_eq!(show_with(&path, &Options::default()).0, line);
        }
    }
}

#[test]
fn old_files_are_removed_and_none_is_larger_than_the_limit() {
    let (temp, path) = place();
    let limits = Limits { max_bytes: 100, max_files: 3 };
    let lines: Vec<String> = (0..20).map(|n| format!("line {n:02}\n")).collect();
    let lines: Vec<_> = lines.iter().map(|line| (O, line.as_str())).collect();
    write_lines(&path, limits, &lines);
    let mut names: Vec<_> = fs::read_dir(temp.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["0.log", "0.log.8", "0.log.9"]);
    for name in &names {
        assert_eq!(fs::metadata(temp.path().join(name)).unwrap().len(), 96);
    }
    assert_eq!(
        show(&path, &Options::default()).0,
        (14..20).map(|n| format!("line {n:02}\n")).collect::<String>()
    );
    // Fewer files from now on, and an interrupted rotation.
    fs::write(temp.path().join("0.log.new"), "").unwrap();
    LogWriter::open(&path, Limits { max_bytes: 100, max_files: 1 }).unwrap();
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    // A single record may be larger, and is alone in its file.
    write_lines(&path, limits, &[(O, &"x".repeat(200)), (O, "\ny\n")]);
    assert_eq!(show(&path, &Options { tail: Some(1), ..Options::default() }).0, "y\n");
    assert_eq!(fs::metadata(temp.path().join("0.log.2")).unwrap().len(), 241);
}

#[test]
fn a_log_that_is_moved_away_or_removed_is_begun_again() {
    let (temp, path) = place();
    let mut log = LogWriter::open(&path, Limits { max_bytes: 60, max_files: 9 }).unwrap();
    log.write(O, b"one\n", time(0)).unwrap();
    fs::rename(&path, temp.path().join("elsewhere")).unwrap();
    log.write(O, b"two\n", time(0)).unwrap();
    assert_eq!(show(&path, &Options::default()).0, "two\n");
}

#[test]
fn a_rotation_that_fails_keeps_the_limit_and_what_was_written() {
    let (temp, path) = place();
    let mut log = LogWriter::open(&path, Limits { max_bytes: 60, max_files: 9 }).unwrap();
    log.write(O, b"one\n", time(0)).unwrap();
    let obstacle = temp.path().join("0.log.new");
    fs::create_dir(&obstacle).unwrap();
    let error = log.write(O, b"lost\n", time(0)).unwrap_err().to_string();
    assert!(error.contains("0.log.new"), "{error}");
    fs::remove_dir(&obstacle).unwrap();
    log.write(O, b"two\n", time(0)).unwrap();
    assert_eq!(show(&path, &Options::default()).0, "one\ntwo\n");
}

#[test]
fn limits_without_room_and_other_files_are_refused() {
    let (temp, path) = place();
    for limits in [Limits { max_bytes: 0, max_files: 1 }, Limits { max_bytes: 1, max_files: 0 }] {
        assert!(matches!(LogWriter::open(&path, limits), Err(LogError::Limits { .. })));
    }
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert!(matches!(LogWriter::open(&path, NO_ROTATION), Err(LogError::NotAFile { .. })));
    let options = Options::default();
    let missing = temp.path().join("none/0.log");
    for path in [&missing, &temp.path().join("1.log"), &temp.path().to_owned()] {
        let error = read(path, &options, &mut Vec::new(), &mut Vec::new(), || true).unwrap_err();
        // In the directory, `0.log` is the only one, and no file.
        assert!(matches!(error, LogError::Missing { .. } | LogError::NotAFile { .. }), "{error}");
    }
}

#[test]
fn after_a_crash_at_any_byte_the_log_goes_on() {
    let (_temp, path) = place();
    write_lines(&path, NO_ROTATION, &[(O, "first\n"), (E, "torn line\n")]);
    let whole = fs::read(&path).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in first..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let (_, err, before) = show_with(&path, &Options::default());
        write_lines(&path, NO_ROTATION, &[(O, "next\n"), (E, "last\n")]);
        let (out, err_after, after) = show_with(&path, &Options::default());
        assert_eq!(out, b"first\nnext\n", "cut at {cut}");
        let torn = &b"torn line"[..(cut.saturating_sub(first + 40)).min(9)];
        assert_eq!(err, torn, "cut at {cut}");
        let is_record = cut >= first + 40;
        assert_eq!(after.n_skipped, u64::from(!is_record && cut > first), "cut at {cut}");
        assert_eq!(before, after, "cut at {cut}");
        let ended = if is_record { [torn, b"\n"].concat() } else { Vec::new() };
        assert_eq!(err_after, [ended.as_slice(), b"last\n"].concat(), "cut at {cut}");
    }
}

#[test]
fn lines_are_chosen_by_stream_time_number_and_bytes() {
    let (temp, path) = place();
    let long = format!("{}\n", "x".repeat(CONTENT_MAX + 1));
    write_lines(&path, NO_ROTATION, &[(O, "a\n"), (E, "b\n"), (O, &long), (E, "c\n"), (O, "d\n")]);
    let none = Options::default();
    let check = |options: Options<'_>, out: &str, err: &str| {
        assert_eq!(show(&path, &options), (out.to_owned(), err.to_owned()), "{options:?}");
    };
    check(Options { stream: Some(O), ..none }, &format!("a\n{long}d\n"), "");
    check(Options { since: Some(time(3)), ..none }, "d\n", "c\n");
    check(Options { tail: Some(0), ..none }, "", "");
    check(Options { tail: Some(1), ..none }, "d\n", "");
    check(Options { tail: Some(3), ..none }, &format!("{long}d\n"), "c\n");
    check(Options { tail: Some(2), stream: Some(E), ..none }, "", "b\nc\n");
    check(Options { tail: Some(99), ..none }, &format!("a\n{long}d\n"), "b\nc\n");
    check(Options { limit_bytes: Some(3), ..none }, "a\n", "b");
    check(Options { limit_bytes: Some(0), ..none }, "", "");
    let stamped = "2023-11-14T22:13:22.000000000Z ";
    check(
        Options { has_timestamps: true, tail: Some(3), ..none },
        &format!("{stamped}{long}2023-11-14T22:13:24.000000000Z d\n"),
        "2023-11-14T22:13:23.000000000Z c\n",
    );
    // By the directory: the last start.
    write_lines(&temp.path().join("10.log"), NO_ROTATION, &[(O, "ten\n")]);
    write_lines(&temp.path().join("9.log"), NO_ROTATION, &[(O, "nine\n")]);
    assert_eq!(show(temp.path(), &none).0, "ten\n");
}

#[test]
fn records_are_handed_to_programs_as_lines_of_json() {
    let (_temp, path) = place();
    // A character of two bytes in the middle of which the first record ends, bytes that are no text, and what JSON escapes.
    let long = format!("{}é\n", "x".repeat(CONTENT_MAX - 1));
    let mut log = LogWriter::open(&path, NO_ROTATION).unwrap();
    for (second, (stream, bytes)) in
        (0..).zip([(O, long.as_bytes()), (E, b"\"a\"\t\xff\n"), (O, b"\n"), (O, b"rest")])
    {
        log.write(stream, bytes, time(second)).unwrap();
    }
    log.finish(time(9)).unwrap();
    let record = |second: u8, stream, is_partial, log: &str| {
        serde_json::json!({
            "time": format!("2023-11-14T22:13:2{second}.000000000Z"),
            "stream": stream, "partial": is_partial, "log": log, "container": "web",
        })
    };
    let all = [
        record(0, "stdout", true, &"x".repeat(CONTENT_MAX - 1)),
        record(0, "stdout", false, "é"),
        record(1, "stderr", false, "\"a\"\t\u{fffd}"),
        record(2, "stdout", false, ""),
        record(9, "stdout", true, "rest"),
    ];
    let check = |options: Options<'_>, expected: &[serde_json::Value]| {
        let options = Options { form: Form::Json { container: "web" }, ..options };
        let (out, err) = show(&path, &options);
        let found: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((found.as_slice(), err.as_str()), (expected, ""), "{options:?}");
    };
    let none = Options::default();
    check(none, &all);
    check(Options { has_timestamps: true, is_followed: true, ..none }, &all);
    check(Options { tail: Some(3), ..none }, &all[2..]);
    check(Options { since: Some(time(2)), ..none }, &all[3..]);
    check(Options { stream: Some(E), ..none }, &all[2..3]);
    check(Options { limit_bytes: Some(3), tail: Some(1), ..none }, &[record(9, "stdout", true, "res")]);
    // One that a crash cut off is ended, and does not end its line.
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    check(Options { tail: Some(1), ..none }, &[record(9, "stdout", true, "re")]);
    fs::write(&path, b"2023-11-14T22:13:21.000000000Z stdout F to").unwrap();
    check(none, &[record(1, "stdout", true, "to")]);
}

#[test]
fn what_is_no_record_is_left_out_and_takes_no_memory() {
    let (_temp, path) = place();
    write_lines(&path, NO_ROTATION, &[(O, "a\n")]);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"foreign\n\n\xff\xff\n").unwrap();
    file.write_all(&vec![b'y'; 1_000_000]).unwrap();
    file.write_all(b"\n2023-11-14T22:13:20Z stdout P ").unwrap();
    file.write_all(&vec![b'z'; 1_000_000]).unwrap();
    file.write_all(b"\n").unwrap();
    write_lines(&path, NO_ROTATION, &[(O, "b\n")]);
    let (out, _, summary) = show_with(&path, &Options::default());
    assert_eq!(summary.n_skipped, 4);
    assert_eq!(out, [b"a\n".as_slice(), &[b'z'; 1_000_000], b"b\n"].concat());
    let (tail, _, summary) = show_with(&path, &Options { tail: Some(1), ..Options::default() });
    assert_eq!((tail.len(), summary.n_skipped), (1_000_002, 0));
}

#[test]
fn a_log_is_followed_across_rotations_until_the_container_is_over() {
    for tail in [None, Some(0), Some(2)] {
        let (_temp, path) = place();
        let limits = Limits { max_bytes: 90, max_files: 1000 };
        let log = RefCell::new(None);
        let (mut step, mut out, mut err) = (0, Vec::new(), Vec::new());
        let options = Options { is_followed: true, tail, ..Options::default() };
        if tail.is_some() {
            write_lines(&path, limits, &[(O, "old 1\n"), (O, "old 2\n"), (E, "old 3\n"), (O, "old 4\n")]);
        }
        let is_over = || {
            let mut log = log.borrow_mut();
            let log = log.get_or_insert_with(|| LogWriter::open(&path, limits).unwrap());
            step += 1;
            match step {
                // Several rotations since the last look, then the beginning of a line only, then its end.
                1 => (0..10).for_each(|n| log.write(O, format!("{n}\n").as_bytes(), time(n)).unwrap()),
                2 => log.write(E, &vec![b'x'; 2 * CONTENT_MAX], time(0)).unwrap(),
                3 => log.write(E, b"y\nrest", time(0)).unwrap(),
                4 => log.finish(time(0)).unwrap(),
                _ => log.write(O, b"last\n", time(0)).unwrap(),
            }
            step == 5
        };
        let summary = read(&path, &options, &mut out, &mut err, is_over).unwrap();
        assert_eq!(summary.n_skipped, 0);
        let old = if tail == Some(2) { ("old 4\n", "old 3\n") } else { ("", "") };
        let new: String = (0..10).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8(out).unwrap(), format!("{}{new}last\n", old.0));
        assert_eq!(
            String::from_utf8(err).unwrap(),
            format!("{}{}y\nrest", old.1, "x".repeat(2 * CONTENT_MAX))
        );
    }
}

#[test]
fn following_ends_when_the_log_is_removed_and_outlives_what_it_missed() {
    let (temp, path) = place();
    let dir = temp.path().join("container");
    fs::create_dir(&dir).unwrap();
    let path = dir.join(path.file_name().unwrap());
    let options = Options { is_followed: true, ..Options::default() };
    let (mut out, mut step) = (Vec::new(), 0);
    let is_over = || {
        step += 1;
        match step {
            1 => write_lines(&path, Limits { max_bytes: 50, max_files: 2 }, &[(O, "first\n")]),
            // What is shown is removed by then.
            2 => {
                let lines: Vec<String> = (0..6).map(|n| format!("{n}\n")).collect();
                let lines: Vec<_> = lines.iter().map(|line| (O, line.as_str())).collect();
                write_lines(&path, Limits { max_bytes: 50, max_files: 2 }, &lines);
            }
            3 => fs::remove_dir_all(&dir).unwrap(),
            _ => {}
        }
        false
    };
    read(&path, &options, &mut out, &mut Vec::new(), is_over).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "first\n4\n5\n");
}

/// Takes nothing.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_receiver_that_is_gone_ends_the_reading() {
    let (_temp, path) = place();
    write_lines(&path, NO_ROTATION, &[(E, "a\n")]);
    let error = read(&path, &Options::default(), &mut Vec::new(), &mut Closed, || true).unwrap_err();
    assert!(matches!(error, LogError::Receiver { stream: E, .. }), "{error}");
}

/// What a program wrote: on which stream, and what.
fn chunks() -> impl Strategy<Value = Vec<(Stream, Vec<u8>)>> {
    let piece = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        4 => "[a-z]{0,9}\n".prop_map(String::into_bytes),
        2 => Just(b"\n".to_vec()),
        1 => (b'a'..=b'z', CONTENT_MAX - 3..CONTENT_MAX + 3).prop_map(|(byte, n)| vec![byte; n]),
        1 => (b'a'..=b'z', 1..40_000usize).prop_map(|(byte, n)| vec![byte; n]),
    ];
    let chunk = prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat());
    prop::collection::vec((prop_oneof![Just(O), Just(E)], chunk), 0..25)
}

fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![
        Just(NO_ROTATION),
        (60..3000u64).prop_map(|max_bytes| Limits { max_bytes, max_files: u32::MAX }),
        (10_000..100_000u64).prop_map(|max_bytes| Limits { max_bytes, max_files: u32::MAX }),
    ]
}

/// The content of each line with its stream, in the order of their last records, found by the plainest means.
fn lines_of(path: &Path) -> Vec<(Stream, Vec<u8>)> {
    let (mut lines, mut open) = (Vec::new(), [None::<((usize, usize), Vec<u8>)>, None]);
    for (idx, file) in files::chain(path).unwrap().iter().enumerate() {
        let bytes = fs::read(&file.path).unwrap();
        let mut start = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Parsed::Head(head) = parse(line) else { panic!("a foreign line") };
            let (_, mut content) = open[head.stream.idx()].take().unwrap_or_default();
            content.extend_from_slice(&line[head.length..line.len() - usize::from(head.is_partial)]);
            if head.is_partial {
                open[head.stream.idx()] = Some(((idx, start), content));
            } else {
                lines.push(((idx, start), head.stream, content));
            }
            start += line.len();
        }
    }
    for stream in Stream::ALL {
        lines.extend(open[stream.idx()].take().map(|(position, content)| (position, stream, content)));
    }
    lines.sort_by_key(|(position, ..)| *position);
    lines.into_iter().map(|(_, stream, content)| (stream, content)).collect()
}

fn of_stream(lines: &[(Stream, Vec<u8>)], stream: Stream) -> Vec<u8> {
    lines.iter().filter(|(of, _)| *of == stream).flat_map(|(_, line)| line.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_read_is_what_was_written(chunks in chunks(), limits in limits(), n_opened in 1..4usize) {
        let (_temp, path) = place();
        // With a new writer now and then, as after a crash of the old one at the end of a line.
        for part in chunks.chunks(chunks.len().div_ceil(n_opened).max(1)) {
            let mut log = LogWriter::open(&path, limits).unwrap();
            for (second, (stream, chunk)) in (0..).zip(part) {
                log.write(*stream, chunk, time(second)).unwrap();
            }
            log.finish(time(99)).unwrap();
        }
        LogWriter::open(&path, limits).unwrap();
        let (out, err, summary) = show_with(&path, &Options::default());
        prop_assert_eq!(summary.n_skipped, 0);
        prop_assert!(out == of_stream(&chunks, O) && err == of_stream(&chunks, E));
        for file in files::chain(&path).unwrap() {
            let size = file.size().unwrap();
            let n_records = fs::read(&file.path).unwrap().iter().filter(|byte| **byte == b'\n').count();
            prop_assert!(size <= limits.max_bytes || n_records == 1, "{} bytes in {}", size, n_records);
        }
    }

    #[test]
    fn the_tail_is_the_last_lines(chunks in chunks(), limits in limits(), n in 0..12usize, only in prop::option::of(prop_oneof![Just(O), Just(E)])) {
        let (_temp, path) = place();
        let mut log = LogWriter::open(&path, limits).unwrap();
        for (stream, chunk) in &chunks {
            log.write(*stream, chunk, time(0)).unwrap();
        }
        log.finish(time(0)).unwrap();
        let mut lines = lines_of(&path);
        lines.retain(|(stream, _)| only.is_none_or(|only| only == *stream));
        let expected = &lines[lines.len().saturating_sub(n)..];
        let (out, err, _) = show_with(&path, &Options { tail: Some(n), stream: only, ..Options::default() });
        prop_assert!(out == of_stream(expected, O) && err == of_stream(expected, E));
    }

    #[test]
    fn hostile_files_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..3000), tail in prop::option::of(0..5usize)) {
        let (_temp, path) = place();
        fs::write(&path, &bytes).unwrap();
        let (out, err, _) = show_with(&path, &Options { tail, ..Options::default() });
        prop_assert!(out.len() + err.len() <= bytes.len());
        let json = Options { tail, form: Form::Json { container: "c" }, ..Options::default() };
        for line in show(&path, &json).0.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        write_lines(&path, NO_ROTATION, &[(O, "next\n")]);
        let (out, ..) = show_with(&path, &Options { tail: Some(1), ..Options::default() });
        prop_assert!(out.ends_with(b"next\n"));
    }
}
