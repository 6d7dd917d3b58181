//! Aggregates of floats over window frames that slide: `sum` and `avg` (called by `sums.rs` and
//! `averages.rs`), and in
//! the place of DataFusion's the variances, deviations, covariances, correlations and regressions.
//!
//! DataFusion's subtract the values that leave a frame. A float does not give back what it has
//! swallowed (1e20 + 1 - 1e20 is 0), and NaN and infinities never leave. Nothing is subtracted here: a
//! frame is a queue of two stacks, whose values are joined with each other, each twice.
//!
//! Aggregates that keep their values (`median`, `array_agg`), or count in integers (`count`,
//! `regr_count`, `bit_xor`, sums of decimals), stay DataFusion's.

use std::{
    fmt::Debug,
    iter::zip,
    mem::{size_of, size_of_val, swap},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Field, FieldRef, Float64Type},
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    functions_aggregate::{
        correlation::corr_udaf,
        covariance::{covar_pop_udaf, covar_samp_udaf},
        regr::{
            regr_avgx_udaf, regr_avgy_udaf, regr_intercept_udaf, regr_r2_udaf, regr_slope_udaf,
            regr_sxx_udaf, regr_sxy_udaf, regr_syy_udaf,
        },
        stddev::{stddev_pop_udaf, stddev_udaf},
        variance::{var_pop_udaf, var_samp_udaf},
    },
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};

use crate::error::EngineError;

/// Returns the functions that belong in the place of DataFusion's.
pub(crate) fn functions() -> impl Iterator<Item = AggregateUDF> {
    use Statistic as S;
    [
        (var_samp_udaf(), S::Variance(Of::Sample)),
        (var_pop_udaf(), S::Variance(Of::Population)),
        (stddev_udaf(), S::Deviation(Of::Sample)),
        (stddev_pop_udaf(), S::Deviation(Of::Population)),
        (covar_samp_udaf(), S::Covariance(Of::Sample)),
        (covar_pop_udaf(), S::Covariance(Of::Population)),
        (corr_udaf(), S::Correlation),
        (regr_slope_udaf(), S::Slope),
        (regr_intercept_udaf(), S::Intercept),
        (regr_r2_udaf(), S::Determination),
        (regr_avgx_udaf(), S::MeanOfX),
        (regr_avgy_udaf(), S::MeanOfY),
        (regr_sxx_udaf(), S::SquaresOfX),
        (regr_syy_udaf(), S::SquaresOfY),
        (regr_sxy_udaf(), S::Products),
    ]
    .into_iter()
    .map(|(function, statistic)| {
        AggregateUDF::from(Sliding {
            function,
            statistic,
        })
    })
}

/// Returns the accumulator of `sum` over a frame.
pub(crate) fn sum() -> Box<dyn Accumulator> {
    // Begins with a positive zero, as sums without a window do.
    Frame::<f64>::accumulator(|sum, _| Some(0.0 + sum))
}

/// Returns the accumulator of `avg` over a frame.
pub(crate) fn average() -> Box<dyn Accumulator> {
    Frame::<f64>::accumulator(|sum, values| Some(sum / values as f64))
}

/// A function of DataFusion, but for the accumulators of frames that slide.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sliding {
    function: Arc<AggregateUDF>,
    statistic: Statistic,
}

impl AggregateUDFImpl for Sliding {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.function.return_type(types)
    }

    fn is_nullable(&self) -> bool {
        self.function.is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.function.default_value(data_type)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        match self.statistic.of_all_pairs() {
            Some(_) => Ok(AllPairs::state_fields(arguments.name)),
            None => self.function.state_fields(arguments),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if arguments.is_distinct && arguments.exprs.len() > 1 {
            return Err(no_distinct_pairs(self.name()));
        }
        match self.statistic.of_all_pairs() {
            Some(result) => Ok(Box::new(AllPairs {
                joined: None,
                result,
            })),
            None => self.function.accumulator(arguments),
        }
    }

    fn create_sliding_accumulator(
        &self,
        arguments: AccumulatorArgs,
    ) -> Result<Box<dyn Accumulator>> {
        match arguments.is_distinct {
            // DataFusion has none that slides, and says so.
            true => self.accumulator(arguments),
            false => Ok(self.statistic.accumulator()),
        }
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        self.statistic.of_all_pairs().is_none()
            && self.function.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.function.create_groups_accumulator(arguments)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }
}

/// DataFusion would take all pairs.
fn no_distinct_pairs(function: &str) -> DataFusionError {
    DataFusionError::NotImplemented(format!("{function} of DISTINCT pairs is not supported"))
}

/// What is computed of a frame. Results are null where those of DataFusion's functions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Statistic {
    Variance(Of),
    Deviation(Of),
    Covariance(Of),
    Correlation,
    Slope,
    Intercept,
    /// The coefficient of determination, `regr_r2`.
    Determination,
    MeanOfX,
    MeanOfY,
    SquaresOfX,
    SquaresOfY,
    Products,
}

/// What the values of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Of {
    Sample,
    Population,
}

impl Statistic {
    /// Returns the result of all pairs, where DataFusion's is another one than PostgreSQL's: `corr` is
    /// null where one of the columns has a NaN, and subtracts products of sums, whose difference is
    /// lost in large numbers; `regr_r2` is null where y is constant; slopes of one NaN are null, and means
    /// of infinity NaN.
    fn of_all_pairs(self) -> Option<fn(Pairs, usize) -> Option<f64>> {
        match self {
            Self::Correlation => Some(Pairs::correlation),
            Self::Determination => Some(Pairs::determination),
            Self::Slope => Some(Pairs::slope),
            Self::Intercept => Some(Pairs::intercept),
            Self::MeanOfX => Some(|pairs, _| Some(pairs.x.mean)),
            Self::MeanOfY => Some(|pairs, _| Some(pairs.y.mean)),
            _ => None,
        }
    }

    fn accumulator(self) -> Box<dyn Accumulator> {
        match self {
            Self::Variance(Of::Sample) => Frame::<Spread>::accumulator(Spread::variance_of_sample),
            Self::Variance(Of::Population) => Frame::<Spread>::accumulator(Spread::variance),
            Self::Deviation(Of::Sample) => Frame::<Spread>::accumulator(|spread, values| {
                spread.variance_of_sample(values).map(f64::sqrt)
            }),
            Self::Deviation(Of::Population) => Frame::<Spread>::accumulator(|spread, values| {
                spread.variance(values).map(f64::sqrt)
            }),
            Self::Covariance(Of::Sample) => Frame::<Pairs>::accumulator(|pairs, values| {
                (values > 1).then(|| pairs.products / (values - 1) as f64)
            }),
            Self::Covariance(Of::Population) => {
                Frame::<Pairs>::accumulator(|pairs, values| Some(pairs.products / values as f64))
            }
            // Of `corr` the first argument is called y, too.
            Self::Correlation => Frame::<Pairs>::accumulator(Pairs::correlation),
            Self::Slope => Frame::<Pairs>::accumulator(Pairs::slope),
            Self::Intercept => Frame::<Pairs>::accumulator(Pairs::intercept),
            Self::Determination => Frame::<Pairs>::accumulator(Pairs::determination),
            Self::MeanOfX => Frame::<Pairs>::accumulator(|pairs, _| Some(pairs.x.mean)),
            Self::MeanOfY => Frame::<Pairs>::accumulator(|pairs, _| Some(pairs.y.mean)),
            Self::SquaresOfX => Frame::<Pairs>::accumulator(|pairs, _| Some(pairs.x.squares)),
            Self::SquaresOfY => Frame::<Pairs>::accumulator(|pairs, _| Some(pairs.y.squares)),
            Self::Products => Frame::<Pairs>::accumulator(|pairs, _| Some(pairs.products)),
        }
    }
}

// ---- frames ----

/// What several values come to.
trait Part: Copy + Debug + Send + Sync + 'static {
    /// Returns the values of rows that have no null.
    fn of_rows(arguments: &[ArrayRef]) -> impl Iterator<Item = Self>;

    /// Joins values with later ones.
    fn join(self, later: Self) -> Self;
}

/// The values of a frame, joined.
///
/// Newer values are pushed onto one stack, and older ones popped from another. When that is empty, it
/// gets the values of the first one, the oldest on top. So each value is joined twice.
#[derive(Debug)]
struct Frame<P> {
    /// Each older value, joined with all below it, which are later.
    older: Vec<P>,
    newer: Vec<P>,
    newer_joined: Option<P>,
    /// What is computed of all and their number, which is not zero.
    result: fn(P, usize) -> Option<f64>,
}

impl<P: Part> Frame<P> {
    fn accumulator(result: fn(P, usize) -> Option<f64>) -> Box<dyn Accumulator> {
        Box::new(Self {
            older: Vec::new(),
            newer: Vec::new(),
            newer_joined: None,
            result,
        })
    }

    fn push(&mut self, value: P) {
        self.newer.push(value);
        self.newer_joined = join(self.newer_joined, Some(value));
    }

    fn pop(&mut self) {
        if self.older.is_empty() {
            swap(&mut self.older, &mut self.newer);
            self.newer_joined = None;
            self.older.reverse();
            let mut later = None;
            for value in &mut self.older {
                let joined = later.map_or(*value, |later| value.join(later));
                *value = joined;
                later = Some(joined);
            }
        }
        self.older.pop();
    }
}

fn join<P: Part>(values: Option<P>, later: Option<P>) -> Option<P> {
    match (values, later) {
        (Some(values), Some(later)) => Some(values.join(later)),
        (values, later) => values.or(later),
    }
}

impl<P: Part> Accumulator for Frame<P> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        P::of_rows(values).for_each(|value| self.push(value));
        Ok(())
    }

    /// Values leave a frame in the order in which they have come.
    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        P::of_rows(values).for_each(|_| self.pop());
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let all = join(self.older.last().copied(), self.newer_joined);
        let values = self.older.len() + self.newer.len();
        Ok(all.and_then(|all| (self.result)(all, values)).into())
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.older.capacity() + self.newer.capacity()) * size_of::<P>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Err(no_state())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        Err(no_state())
    }
}

/// The rows of a window are in one partition: nobody merges frames.
fn no_state() -> DataFusionError {
    EngineError::data("a window frame has no state").into()
}

// ---- all rows ----

/// The pairs of all rows, or of a group, joined.
#[derive(Debug)]
struct AllPairs {
    joined: Option<Pairs>,
    /// What is computed of all and their number, which is not zero.
    result: fn(Pairs, usize) -> Option<f64>,
}

impl AllPairs {
    const STATE: [&str; 6] = [
        "pairs",
        "mean_y",
        "squares_y",
        "mean_x",
        "squares_x",
        "products",
    ];

    fn state_fields(function: &str) -> Vec<FieldRef> {
        let fields = Self::STATE.map(|name| {
            let name = format_state_name(function, name);
            Arc::new(Field::new(name, DataType::Float64, true))
        });
        fields.to_vec()
    }

    fn add(&mut self, pairs: impl Iterator<Item = Pairs>) {
        self.joined = pairs.fold(self.joined, |joined, pair| join(joined, Some(pair)));
    }
}

impl Accumulator for AllPairs {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(Pairs::of_rows(values));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states: Vec<_> = states
            .iter()
            .map(|part| part.as_primitive::<Float64Type>())
            .collect();
        let rows = (0..states[0].len()).filter(|row| states[0].is_valid(*row));
        self.add(rows.map(|row| Pairs::of_state(|at| states[at].value(row))));
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let state = match self.joined {
            Some(pairs) => pairs.state().map(Some),
            None => [None; 6],
        };
        Ok(state.map(ScalarValue::from).to_vec())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let result = self
            .joined
            .and_then(|pairs| (self.result)(pairs, pairs.y.values as usize));
        Ok(result.into())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

// ---- floats that are joined ----

fn floats(argument: &ArrayRef) -> impl Iterator<Item = Option<f64>> {
    argument.as_primitive::<Float64Type>().iter()
}

/// A sum.
impl Part for f64 {
    fn of_rows(arguments: &[ArrayRef]) -> impl Iterator<Item = Self> {
        floats(&arguments[0]).flatten()
    }

    fn join(self, later: Self) -> Self {
        self + later
    }
}

/// How far values are from each other.
#[derive(Clone, Copy, Debug)]
struct Spread {
    values: f64,
    mean: f64,
    /// The sum of the squares of their differences from the mean.
    squares: f64,
}

impl Spread {
    fn of(value: f64) -> Self {
        Self {
            values: 1.0,
            mean: value,
            squares: no_difference(value),
        }
    }

    fn variance(self, values: usize) -> Option<f64> {
        Some(match values {
            1 => 0.0,
            _ => self.squares / values as f64,
        })
    }

    fn variance_of_sample(self, values: usize) -> Option<f64> {
        (values > 1).then(|| self.squares / (values - 1) as f64)
    }
}

impl Part for Spread {
    fn of_rows(arguments: &[ArrayRef]) -> impl Iterator<Item = Self> {
        floats(&arguments[0]).flatten().map(Self::of)
    }

    /// Joins as in Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for Computing
    /// Sample Variances (1979). The mean is that of the more values, changed: equal values stay
    /// equal to their mean.
    fn join(self, later: Self) -> Self {
        let (more, fewer) = match self.values >= later.values {
            true => (self, later),
            false => (later, self),
        };
        let values = more.values + fewer.values;
        let (difference, share) = (fewer.mean - more.mean, fewer.values / values);
        let mean = match difference.is_finite() {
            true => more.mean + difference * share,
            false => more.mean * (more.values / values) + fewer.mean * share,
        };
        Self {
            values,
            mean,
            squares: more.squares + fewer.squares + difference * difference * more.values * share,
        }
    }
}

/// Pairs of values.
#[derive(Clone, Copy, Debug)]
struct Pairs {
    y: Spread,
    x: Spread,
    /// The sum of the products of their differences from the means.
    products: f64,
}

impl Pairs {
    /// Returns the parts in the order of [`AllPairs::STATE`].
    fn state(self) -> [f64; 6] {
        let (y, x) = (self.y, self.x);
        [
            y.values,
            y.mean,
            y.squares,
            x.mean,
            x.squares,
            self.products,
        ]
    }

    fn of_state(part: impl Fn(usize) -> f64) -> Self {
        let spread = |mean, squares| Spread {
            values: part(0),
            mean,
            squares,
        };
        Self {
            y: spread(part(1), part(2)),
            x: spread(part(3), part(4)),
            products: part(5),
        }
    }

    fn correlation(self, pairs: usize) -> Option<f64> {
        let (y, x) = (self.y.squares, self.x.squares);
        let is_constant = y == 0.0 || x == 0.0;
        // Not the product of the squares: that leaves the range of floats sooner.
        let correlation = || self.products / y.sqrt() / x.sqrt();
        (pairs > 0 && !is_constant).then(correlation)
    }

    fn slope(self, pairs: usize) -> Option<f64> {
        let is_constant = self.x.squares == 0.0;
        (pairs > 0 && !is_constant).then(|| self.products / self.x.squares)
    }

    fn intercept(self, pairs: usize) -> Option<f64> {
        let slope = self.slope(pairs)?;
        Some(self.y.mean - slope * self.x.mean)
    }

    fn determination(self, pairs: usize) -> Option<f64> {
        let (products, y, x) = (self.products, self.y.squares, self.x.squares);
        if pairs == 0 || x == 0.0 {
            return None;
        }
        // Not the square of the products first: that leaves the range of floats sooner.
        Some(match y == 0.0 {
            true => 1.0,
            false => products / x * (products / y),
        })
    }
}

impl Part for Pairs {
    fn of_rows(arguments: &[ArrayRef]) -> impl Iterator<Item = Self> {
        let pairs = zip(floats(&arguments[0]), floats(&arguments[1]));
        let pairs = pairs.filter_map(|(y, x)| Some((y?, x?)));
        pairs.map(|(y, x)| Self {
            y: Spread::of(y),
            x: Spread::of(x),
            products: no_difference(y) + no_difference(x),
        })
    }

    fn join(self, later: Self) -> Self {
        let (more, fewer) = match self.y.values >= later.y.values {
            true => (self, later),
            false => (later, self),
        };
        let share = fewer.y.values / (more.y.values + fewer.y.values);
        let (of_y, of_x) = (fewer.y.mean - more.y.mean, fewer.x.mean - more.x.mean);
        Self {
            y: self.y.join(later.y),
            x: self.x.join(later.x),
            products: more.products + fewer.products + of_y * of_x * more.y.values * share,
        }
    }
}

/// Returns zero, the difference of a value from itself; NaN for NaN and infinities.
fn no_difference(value: f64) -> f64 {
    match value.is_finite() {
        true => 0.0,
        false => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    #[test]
    fn the_values_of_a_frame_count_as_memory() {
        let mut pairs = Statistic::Slope.accumulator();
        let empty = pairs.size();
        let rows: ArrayRef = Arc::new(Float64Array::from_iter_values((0..1000).map(f64::from)));
        let arguments = [Arc::clone(&rows), rows];
        pairs.update_batch(&arguments).unwrap();
        assert!(pairs.size() >= empty + 1000 * size_of::<Pairs>());
        pairs.retract_batch(&arguments).unwrap();
        assert_eq!(pairs.evaluate().unwrap(), ScalarValue::Float64(None));
    }
}
