//! Medians, quartiles, and how sure a median is.

/// What a sample comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// The first and the third.
    pub(crate) quartiles: [f64; 2],
    /// Bounds between which the median of all that could have been measured lies, in 95 of 100 cases.
    pub(crate) interval: [f64; 2],
    pub(crate) n: usize,
}

impl Summary {
    /// `None` of an empty sample.
    pub(crate) fn of(sample: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = sample.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Self {
            median: quantile(&sorted, 0.5),
            min,
            max,
            quartiles: [quantile(&sorted, 0.25), quantile(&sorted, 0.75)],
            interval: interval(&sorted),
            n: sorted.len(),
        })
    }
}

/// The value below which a share of a sorted sample lies, between its two nearest members.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// The members of a sorted sample whose ranks bound the median at 95 %: the number of members below it is binomial,
/// with a standard deviation of half the root of their number.
fn interval(sorted: &[f64]) -> [f64; 2] {
    const TWO_SIDED_95: f64 = 1.96;
    let n = sorted.len() as f64;
    let reach = TWO_SIDED_95 * n.sqrt() / 2.0;
    let last = sorted.len() - 1;
    let low = (n / 2.0 - reach).floor().max(0.0) as usize;
    let high = (n / 2.0 + reach).ceil() as usize;
    [sorted[low.min(last)], sorted[high.min(last)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_members() {
        let of = |sample: &[f64]| Summary::of(sample.iter().copied()).unwrap();
        let even = of(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!((even.median, even.quartiles), (2.5, [1.75, 3.25]));
        assert_eq!((even.min, even.max, even.n), (1.0, 4.0, 4));
        assert_eq!(of(&[5.0, 1.0, 9.0]).median, 5.0);
        let one = of(&[7.0]);
        assert_eq!((one.median, one.quartiles, one.interval), (7.0, [7.0; 2], [7.0; 2]));
        assert_eq!(Summary::of([]), None);
    }

    #[test]
    fn the_interval_of_the_median_narrows_with_the_sample() {
        let of = |n: u32| Summary::of((0..n).map(|i| f64::from(i) / f64::from(n - 1))).unwrap();
        // 100 members: ranks 50 ± 9.8.
        assert_eq!(of(100).interval.map(|bound| (bound * 99.0).round()), [40.0, 60.0]);
        let width = |n| of(n).interval[1] - of(n).interval[0];
        assert!(width(1000) < width(100) / 3.0 + 0.01);
        assert!(of(100).quartiles[0] < of(100).interval[0]);
    }
}
