//! The names under which a series is exported.

/// Labels that every series of a container has: Kubernetes' own names, not ids, so that a restarted container goes on counting.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Names {
    /// Namespace of the pod; empty outside of Kubernetes.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container; `POD` for the sandbox, empty for the cgroup of the pod itself.
    pub container: String,
}

impl Names {
    /// The container name of a sandbox.
    pub const SANDBOX: &str = "POD";
    /// The container name of what there was no room for.
    pub const OVERFLOW: &str = "_overflow";
    /// Label values are cut to so many bytes: they come from others.
    pub const MAX_BYTES: usize = 253;

    /// Names that may come from anybody.
    #[must_use]
    pub fn new(namespace: &str, pod: &str, container: &str) -> Self {
        Self { namespace: clip(namespace), pod: clip(pod), container: clip(container) }
    }

    /// Values of the labels that every series of a container begins with.
    pub(crate) fn labels(&self) -> [&str; 3] {
        [&self.namespace, &self.pod, &self.container]
    }
}

fn clip(name: &str) -> String {
    let mut end = name.len().min(Names::MAX_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_characters() {
        let names = Names::new("", &"ä".repeat(200), "a\nb\"c");
        assert_eq!(names.pod, "ä".repeat(126));
        assert_eq!(names.container, "a\nb\"c");
    }
}
