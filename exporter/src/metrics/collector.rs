//! Groups of metrics that can be left out.

use std::str::FromStr;

macro_rules! collectors {
    ($($(#[$doc:meta])* $id:ident $name:literal;)*) => {
        /// A group of metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Collector {
            /// Of identity and of the exporter itself: never left out.
            Always,
            $($(#[$doc])* $id,)*
        }

        impl Collector {
            /// Those that can be left out.
            pub const OPTIONAL: &[Self] = &[$(Self::$id),*];

            /// As scrapes name it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Always => "",
                    $(Self::$id => $name,)*
                }
            }

            /// The options that put it in and leave it out.
            #[must_use]
            pub const fn options(self) -> [&'static str; 2] {
                match self {
                    Self::Always => ["", ""],
                    $(Self::$id => [concat!("collector.", $name), concat!("no-collector.", $name)],)*
                }
            }
        }
    };
}

collectors! {
    /// Life of processes.
    Forks "forks";
    /// Zombies, and who reaps.
    Zombies "zombies";
    /// How long zombies have waited.
    ZombieHistogram "zombie-histogram";
    /// PID 1 of containers.
    Init "init";
    /// Namespaces made and joined.
    Namespaces "namespaces";
    /// Memory limits.
    Oom "oom";
    /// CPU bandwidth.
    Cpu "cpu";
    /// How long run queues were throttled: two probes more, and so off unless it is asked for.
    ThrottleHistogram "throttle-histogram";
    /// Limits of tasks.
    Pids "pids";
}

impl Collector {
    /// Whether it is there unless it is left out.
    #[must_use]
    pub const fn is_default(self) -> bool {
        !matches!(self, Self::ThrottleHistogram)
    }
}

impl FromStr for Collector {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::OPTIONAL.iter().find(|collector| collector.name() == name);
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = Self::OPTIONAL.iter().map(|collector| collector.name()).collect();
            format!("no collector {name:?}; there are: {}", names.join(", "))
        })
    }
}

/// Which of them are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collectors(u16);

impl Collectors {
    /// All.
    pub const ALL: Self = Self(u16::MAX);
    /// None of those that can be left out.
    pub const NONE: Self = Self(1);

    /// With this one, too.
    #[must_use]
    pub const fn with(self, collector: Collector) -> Self {
        Self(self.0 | 1 << collector as u16)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn has(self, collector: Collector) -> bool {
        self.0 & (1 << collector as u16) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sets() {
        for collector in Collector::OPTIONAL.iter().copied() {
            assert_eq!(collector.name().parse(), Ok(collector));
            assert!(Collectors::ALL.has(collector) && !Collectors::NONE.has(collector));
            let one = Collectors::NONE.with(collector);
            assert!(one.has(collector) && one.and(Collectors::ALL) == one);
        }
        assert!(Collectors::NONE.has(Collector::Always));
        let error = "".parse::<Collector>().unwrap_err();
        assert!(error.starts_with("no collector \"\"; there are: forks, zombies,"), "{error}");
    }
}
