//! From the text of a manifest to a [`PodSpec`].

use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::error::{Offence, Offences, visible};
use super::{PodSpec, SpecError, json, pod, yaml};

/// The longest manifest that is read. etcd takes no object of more than 1.5 MiB.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Reads and checks a manifest: JSON when it begins with `{`, else YAML.
///
/// `base` is the absolute path of the directory that relative paths of images and profiles start from.
///
/// # Errors
/// All that is wrong, each by its path; only what makes the text unreadable is told alone.
pub fn parse(text: &str, base: &Path) -> Result<PodSpec, SpecError> {
    if text.len() > MAX_BYTES {
        return Err(Offence::Size { bytes: text.len(), max: MAX_BYTES }.into());
    }
    // A byte order mark is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let syntax = if text.trim_start().starts_with('{') { Syntax::Json } else { Syntax::Yaml };
    // Into a tree first, as kubectl does: what a scalar is does not depend on the field that it is written for.
    let tree = syntax.read(text)?;
    check_head(&tree)?;
    let mut offences = Offences::default();
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(tree, &mut track);
    let pod: Result<Pod, _> = serde_ignored::deserialize(tracked, |path| {
        let path = field_path(&path);
        // What the server says of the pod is not read.
        if !["status.", "metadata.managedFields"].iter().any(|start| path.starts_with(start)) {
            offences.list.push(Offence::Unknown { path });
        }
    });
    let spec = match pod {
        Ok(pod) => pod::read(pod, base, &mut offences),
        Err(source) => {
            offences.list.push(wrong_type(&source, &track.path(), syntax, text));
            return Err(SpecError { offences: offences.list });
        }
    };
    if offences.list.is_empty() { Ok(spec) } else { Err(SpecError { offences: offences.list }) }
}

/// How the manifest is written.
#[derive(Clone, Copy)]
enum Syntax {
    Json,
    Yaml,
}

impl Syntax {
    fn read(self, text: &str) -> Result<Value, Offence> {
        match self {
            Self::Json => json::read(text),
            Self::Yaml => yaml::read(text),
        }
    }

    /// Line and column of a value.
    fn locate(self, text: &str, path: &[Segment]) -> Option<(u64, u64)> {
        match self {
            Self::Json => json::locate(text, path),
            Self::Yaml => yaml::locate(text, path),
        }
    }
}

/// Tells the kind of object. The fields of another kind would all be unknown.
fn check_head(tree: &Value) -> Result<(), SpecError> {
    let mut offences = Offences::default();
    if !tree.is_object() {
        let reason = "is not an object with the fields apiVersion, kind, metadata and spec".to_owned();
        return Err(Offence::Invalid { path: "manifest".to_owned(), reason }.into());
    }
    match &tree["kind"] {
        Value::Null => offences.missing("kind"),
        Value::String(kind) if kind == "Pod" => {}
        Value::String(kind) if kind == "List" || kind == "PodList" => {
            offences.invalid("kind", "is a list of objects; write one Pod per manifest");
        }
        kind => offences.invalid(
            "kind",
            format!("{kind} is not Pod, the only kind that podrt runs; write out the Pod that it would make"),
        ),
    }
    match &tree["apiVersion"] {
        Value::Null => offences.missing("apiVersion"),
        Value::String(version) if version == "v1" => {}
        version => offences.invalid("apiVersion", format!("{version} is not v1, the version of a Pod")),
    }
    if offences.list.is_empty() { Ok(()) } else { Err(SpecError { offences: offences.list }) }
}

/// A value of the wrong type, with its place in the text.
fn wrong_type(
    source: &serde_json::Error,
    path: &serde_path_to_error::Path,
    syntax: Syntax,
    text: &str,
) -> Offence {
    let mut reason = source.to_string();
    let is_scalar = ["integer", "floating point", "boolean"]
        .iter()
        .any(|kind| reason.starts_with(&format!("invalid type: {kind}")));
    if is_scalar && reason.ends_with("expected a string") {
        reason.push_str("; put it in quotes");
    }
    let segments: Vec<Segment> = path.iter().cloned().collect();
    if let Some((line, column)) = syntax.locate(text, &segments) {
        reason.push_str(&format!(" (line {line}, column {column})"));
    }
    let path = if segments.is_empty() { "manifest".to_owned() } else { visible(&path.to_string()) };
    Offence::Syntax { path, reason }
}

/// The path of an ignored field in the notation of the other messages: `spec.containers[1].frobnicate`.
fn field_path(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path as P;
    match path {
        P::Root => String::new(),
        P::Seq { parent, index } => format!("{}[{index}]", field_path(parent)),
        P::Map { parent, key } => match field_path(parent) {
            parent if parent.is_empty() => visible(key),
            parent => format!("{parent}.{}", visible(key)),
        },
        P::Some { parent } | P::NewtypeStruct { parent } | P::NewtypeVariant { parent } => field_path(parent),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::samples::minimal;

    const MINIMAL: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: p
spec:
  containers:
  - name: c
    image: /rootfs
";

    fn read(text: &str) -> Result<PodSpec, SpecError> {
        parse(text, Path::new("/pods"))
    }

    fn refused(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    /// The smallest manifest with further lines of its container.
    fn with(lines: &str) -> String {
        format!("{MINIMAL}{lines}")
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let spec = read(MINIMAL).unwrap();
        assert_eq!(spec, read(&minimal().to_string()).unwrap());
        assert_eq!(
            spec,
            read(&format!("\u{feff}\n  {}", serde_json::to_string_pretty(&minimal()).unwrap())).unwrap()
        );
        assert_eq!(spec, read(&format!("# a pod\n---\n{MINIMAL}...\n")).unwrap());
        assert_eq!(spec, read(&format!("{MINIMAL}---\n# the end\n")).unwrap());
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let text = refused(&with(
            "    livenesProbe: {}\n    tty: true\n    workingDir: tmp\n  - image: nginx\n  hostNetworking: yes\n  affinity: {}\n",
        ));
        let starts: Vec<_> = text.lines().map(|line| line.split(": ").next().unwrap()).collect();
        let paths = [
            "spec.containers[0].livenesProbe",
            "spec.hostNetworking",
            "spec.affinity",
            "spec.containers[0].tty",
            "spec.containers[0].workingDir",
            "spec.containers[1].name",
            "spec.containers[1].image",
        ];
        assert_eq!(starts, paths, "{text}");
    }

    #[test]
    fn another_kind_of_object_is_told_alone() {
        let text = refused("apiVersion: apps/v1\nkind: Deployment\nspec:\n  template: {}\n");
        assert!(text.starts_with("kind: \"Deployment\" is not Pod, the only kind that podrt runs"), "{text}");
        assert!(text.ends_with("apiVersion: \"apps/v1\" is not v1, the version of a Pod"), "{text}");
        assert!(refused("apiVersion: v1\nkind: List\nitems: []\n").starts_with("kind: is a list of objects"));
        for empty in ["{}", "---\n{}\n", "kind:\n"] {
            assert_eq!(
                refused(empty),
                "kind: required, and missing\napiVersion: required, and missing",
                "{empty:?}"
            );
        }
    }

    #[test]
    fn a_type_that_is_wrong_is_told_with_its_place() {
        for (lines, path, reason, column) in [
            ("    tty: maybe\n", ".tty", "invalid type: string \"maybe\", expected a boolean", 10),
            ("    command: sleep\n", ".command", "invalid type: string \"sleep\", expected a sequence", 14),
            ("    resources: 1\n", ".resources", "invalid type: integer `1`, expected", 16),
            (
                "    command: [sleep, 3600]\n",
                ".command[1]",
                "invalid type: integer `3600`, expected a string; put it in",
                22,
            ),
            (
                "    env: [{name: A, value: yes}]\n",
                ".env[0].value",
                "invalid type: boolean `true`, expected a string; put",
                28,
            ),
            (
                "    ports: [{containerPort: \"80\"}]\n",
                ".ports[0].containerPort",
                "invalid type: string \"80\"",
                29,
            ),
            ("    resources: {limits: {cpu: [1]}}\n", ".resources.limits.cpu", "invalid type: sequence", 31),
        ] {
            let text = refused(&with(lines));
            assert!(text.starts_with(&format!("spec.containers[0]{path}: {reason}")), "{text}");
            assert!(text.ends_with(&format!("(line 9, column {column})")), "{text}");
        }
        for (lines, path, reason) in [
            ("    name: d\n", "", "the field \"name\" is written twice; keep one"),
            ("    args: *nowhere\n", "", "reference to unknown value"),
            ("    args: [a, b\n", ".args", "unclosed bracket"),
            ("    x: {1: 2}\n", ".x", "\"1\" must be in quotes"),
        ] {
            let text = refused(&with(lines));
            assert!(text.starts_with(&format!("spec.containers[0]{path}: {reason}")), "{text}");
            assert!(text.contains("at line 9, column"), "{text}");
        }
        let text = refused(&minimal().to_string().replace("\"/rootfs\"", "7"));
        assert!(
            text.starts_with("spec.containers[0].image: invalid type: integer `7`, expected a string"),
            "{text}"
        );
        assert!(text.contains("(line 1, column "), "{text}");
        let text = refused(&minimal().to_string().replace("\"/rootfs\"", "7]"));
        assert!(text.starts_with("spec.containers[0]: expected `,` or `}` at line 1 column"), "{text}");
    }

    #[test]
    fn a_text_that_is_no_object_says_so() {
        for text in ["just words", "- a\n- b\n", "", "---\n", "# nothing\n", "[]", "7", "\"\""] {
            assert_eq!(
                refused(text),
                "manifest: is not an object with the fields apiVersion, kind, metadata and spec",
                "{text:?}"
            );
        }
    }

    #[test]
    fn keys_without_a_name_have_a_path_too() {
        let text = refused(&minimal().to_string().replace("\"image\"", "\"\": 1, \"image\""));
        assert!(text.starts_with("spec.containers[0].\"\": the Kubernetes API"), "{text}");
        assert!(refused("{\"\": 1, \"\": 2}").starts_with("\"\": is written twice"));
        assert!(refused("{\"\": x}").starts_with("\"\": expected value"));
    }

    #[test]
    fn several_documents_are_no_manifest() {
        let text = refused(&format!("{MINIMAL}---\n{MINIMAL}"));
        assert_eq!(text, "manifest: holds several YAML documents; write one Pod per manifest");
        let text = refused(&format!("{0}{0}", minimal()));
        assert!(text.starts_with("manifest: goes on behind the object"), "{text}");
    }

    #[test]
    fn a_json_key_written_twice_is_refused() {
        let text = refused(&minimal().to_string().replace("\"image\"", "\"name\":\"d\",\"image\""));
        assert_eq!(text, "spec.containers[0].name: is written twice; keep one");
    }

    #[test]
    fn what_a_server_printed_is_taken() {
        let text = with(
            "status:\n  phase: Running\n  newInVersionTwo: {a: [1]}\n  containerStatuses:\n  - name: c\n    ready: true\n",
        )
        .replace("  name: p\n", "  name: p\n  uid: 1c0f\n  managedFields:\n  - fieldsV1: {\"f:spec\": {}}\n    newInVersionTwo: 1\n");
        assert_eq!(read(&text).unwrap(), read(MINIMAL).unwrap());
    }

    #[test]
    fn bombs_and_giants_are_refused_by_a_limit() {
        assert_eq!(
            refused(&" ".repeat(MAX_BYTES + 1)),
            "manifest: has 1048577 bytes, more than the 1048576 that are read"
        );
        // Each level repeats the one before ten times.
        let mut laughs = "metadata:\n  annotations:\n    x: &l0 lol\n".to_owned();
        for level in 1..12 {
            let list = vec![format!("*l{}", level - 1); 10].join(", ");
            laughs.push_str(&format!("x{level}: &l{level} [{list}]\n"));
        }
        let scalar = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 90].join(", "));
        let deep_yaml = format!("spec: {}", "[".repeat(10_000));
        let deep_blocks: String = (0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth % 400))).collect();
        // In a field whose value can be anything; below an unknown one nothing is kept.
        let deep =
            format!("{{\"managedFields\":[{{\"fieldsV1\":{}{}}}],", "[".repeat(10_000), "]".repeat(10_000));
        let deep_json = minimal().to_string().replace("\"metadata\":{", &format!("\"metadata\":{deep}"));
        for (bomb, reason) in [
            (laughs, "too large or too complex: total_replayed_events"),
            (scalar, "too large or too complex: limits breached: ScalarBytes"),
            (deep_yaml, "recursion limit exceeded"),
            (deep_blocks, "too large or too complex: limits breached: Depth"),
            (deep_json, "recursion limit exceeded"),
        ] {
            let text = refused(&bomb);
            assert!(text.contains(reason), "{text}");
        }
    }

    #[test]
    fn odd_bytes_are_shown_escaped() {
        let manifest = minimal().to_string().replace("\"image\"", "\"a\\u001b[31m\\nb\": 1, \"image\"");
        let text = refused(&manifest);
        assert!(text.starts_with("spec.containers[0].a\\u{1b}[31m\\nb: the Kubernetes API"), "{text}");
        assert!(!text.contains('\u{1b}') && text.lines().count() == 1);
        let manifest =
            minimal().to_string().replace("\"name\":\"p\"", "\"name\":\"p\",\"labels\":{\"a\\u001b\":1}");
        let text = refused(&manifest);
        assert!(text.starts_with("metadata.labels.a\\u{1b}: invalid type"), "{text}");
    }

    /// Parts of manifests, good ones and bad ones.
    fn part() -> impl Strategy<Value = String> {
        proptest::sample::select(
            &[
                "apiVersion: v1\n",
                "kind: Pod\n",
                "metadata:\n",
                "  name: p\n",
                "spec:\n",
                "  containers:\n",
                "  - name: c\n",
                "    image: /r\n",
                "    env:\n",
                "    - name: A\n",
                "      value: $(A)\n",
                "    command: [a, $(A)]\n",
                "  volumes:\n",
                "  - name: v\n",
                "    emptyDir: {sizeLimit: 1e3}\n",
                "{",
                "}",
                "[",
                "]",
                ": ",
                "- ",
                "&a ",
                "*a\n",
                "<<: *a\n",
                "\n",
                "---\n",
                "\"",
                "'",
                "|\n",
                ">-\n",
                "!!binary ",
                "?",
                "\t",
                "\0",
                "\u{feff}",
                "# ",
                "null",
                "-1",
                "é",
            ][..],
        )
        .prop_map(str::to_owned)
    }

    fn is_read_or_refused(text: &str) -> Result<(), TestCaseError> {
        match read(text) {
            Ok(spec) => {
                prop_assert!(!spec.name.is_empty() && !spec.containers.is_empty());
                prop_assert!(spec.containers.iter().all(|container| !container.name.is_empty()));
            }
            Err(error) => {
                prop_assert!(!error.offences.is_empty());
                prop_assert!(error.offences.iter().all(|offence| !offence.path().is_empty()));
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            is_read_or_refused(&text)?;
        }

        #[test]
        fn parts_of_manifests_in_any_order_are_read_or_refused(parts in proptest::collection::vec(part(), 0..40)) {
            is_read_or_refused(&parts.concat())?;
        }

        #[test]
        fn any_value_of_any_field_is_read_or_refused(
            pointer in proptest::sample::select(&[
                "/metadata/name", "/metadata/labels", "/spec/hostname", "/spec/dnsConfig", "/spec/volumes",
                "/spec/containers/0/name", "/spec/containers/0/image", "/spec/containers/0/command",
                "/spec/containers/0/env", "/spec/containers/0/resources", "/spec/containers/0/volumeMounts",
            ][..]),
            text in any::<String>(),
            is_list in any::<bool>(),
        ) {
            let value = if is_list { serde_json::json!([text]) } else { serde_json::json!(text) };
            is_read_or_refused(&crate::spec::samples::with(pointer, value).to_string())?;
        }
    }
}
