//! Order statistics of small samples. Pure functions, nothing else.

/// A sample, sorted, with the figures that reports show.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    /// Sorts what was measured.
    pub(crate) fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    /// The value below which the share `quantile` (0 to 1) lies, interpolated
    /// linearly between neighbours; NaN for an empty sample.
    pub(crate) fn quantile(&self, quantile: f64) -> f64 {
        let Some(last) = self.sorted.len().checked_sub(1) else {
            return f64::NAN;
        };
        let position = quantile.clamp(0.0, 1.0) * last as f64;
        let below = position.floor() as usize;
        let above = position.ceil() as usize;
        let share = position - below as f64;
        self.sorted[below] * (1.0 - share) + self.sorted[above] * share
    }

    /// The smallest value that at least the share `quantile` of the sample does
    /// not exceed (nearest rank): for tails, where interpolating would flatter.
    pub(crate) fn nearest_rank(&self, quantile: f64) -> f64 {
        let rank = (quantile * self.sorted.len() as f64).ceil() as usize;
        let index = rank.saturating_sub(1);
        self.sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_sample_lies_between_the_middle_two() {
        assert_eq!(Sample::new([4.0, 1.0, 3.0, 2.0]).median(), 2.5);
    }

    #[test]
    fn a_tail_is_never_better_than_a_measured_value() {
        let sample = Sample::new((1..=2_000).map(f64::from));
        assert_eq!(sample.nearest_rank(0.999), 1_998.0);
        assert_eq!(sample.nearest_rank(1.0), sample.max());
    }

    #[test]
    fn an_empty_sample_has_no_figures() {
        assert!(Sample::new([]).median().is_nan());
        assert!(Sample::new([]).nearest_rank(0.5).is_nan());
    }
}
