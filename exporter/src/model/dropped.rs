//! Labels that are left empty.

use std::borrow::Cow;

use clap::ValueEnum;

use super::Names;

/// A label that is left empty, so that what differs in it is shown together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dropped {
    /// All containers of a pod are one.
    Container,
    /// All pods of a namespace are one.
    Pod,
}

impl Names {
    /// The names under which a series is shown: owned where others are shown with it. Only names in a namespace are cut: without one, the
    /// host's would be left. No name of a group comes before these in order, and none of another group is among its own.
    pub(crate) fn without(&self, dropped: Option<Dropped>) -> Cow<'_, Self> {
        match dropped {
            Some(dropped) if !self.namespace.is_empty() => {
                let pod = if dropped == Dropped::Pod { "" } else { &self.pod };
                Cow::Owned(Self::new(&self.namespace, pod, ""))
            }
            _ => Cow::Borrowed(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_dropped_within_a_namespace() {
        let of = |names: [&str; 3], dropped| {
            Names::new(names[0], names[1], names[2]).without(dropped).labels().map(str::to_owned)
        };
        let web = ["shop", "web-0", "nginx"];
        assert_eq!(of(web, None), web);
        assert_eq!(of(web, Some(Dropped::Container)), ["shop", "web-0", ""]);
        assert_eq!(of(web, Some(Dropped::Pod)), ["shop", "", ""]);
        for alone in [["", "", "9bca8d63d5fa"], ["", "", ""], ["", "2c48913c", "9bca8d63d5fa"]] {
            assert_eq!(of(alone, Some(Dropped::Pod)), alone);
        }
    }
}
