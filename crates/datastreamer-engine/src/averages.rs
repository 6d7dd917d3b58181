//! The function `avg`, in the place of DataFusion's: averages of integers are those of their exact
//! sums, where DataFusion adds floats and loses digits, and those of durations are right or errors.
//! Averages of floats over window frames that slide are in `sliding.rs`; all others stay DataFusion's.

use std::{
    iter::zip,
    marker::PhantomData,
    mem::{size_of, size_of_val},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Float64Array, PrimitiveArray, UInt64Array},
    compute::cast,
    datatypes::{
        DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DurationMicrosecondType,
        DurationMillisecondType, DurationNanosecondType, DurationSecondType, Field, FieldRef,
        Int64Type, TimeUnit, UInt64Type,
    },
};
use datafusion::{
    common::{Result, ScalarValue},
    functions_aggregate::average::Avg,
    logical_expr::{
        Accumulator, AggregateUDFImpl, Coercion, EmitTo, GroupsAccumulator, ReversedUDAF,
        Signature, TypeSignature, TypeSignatureClass, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};

use crate::{
    sliding,
    sums::{DistinctTotal, Numbers, Total, TotalOf, kept, scalar, total_type},
};

/// Integers up to this one are floats of 64 bits.
const FLOAT_INTEGERS_MAX: u128 = 1 << 53;

/// DataFusion's `avg`, but for the accumulators.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckedAverage {
    inner: Avg,
    signature: Signature,
}

impl Default for CheckedAverage {
    fn default() -> Self {
        let inner = Avg::new();
        // DataFusion makes floats of integers.
        let integers = Coercion::new_exact(TypeSignatureClass::Integer);
        let mut types = vec![TypeSignature::Coercible(vec![integers])];
        match &inner.signature().type_signature {
            TypeSignature::OneOf(others) => types.extend_from_slice(others),
            other => types.push(other.clone()),
        }
        Self {
            inner,
            signature: Signature::one_of(types, Volatility::Immutable),
        }
    }
}

/// Returns the type in which values are added up; `None`: DataFusion does it.
fn added(values: &DataType) -> Option<DataType> {
    match values {
        DataType::Dictionary(_, values) => added(values),
        DataType::RunEndEncoded(_, values) => added(values.data_type()),
        DataType::UInt64 => Some(DataType::UInt64),
        integer if integer.is_integer() => Some(DataType::Int64),
        DataType::Duration(_) => Some(values.clone()),
        _ => None,
    }
}

/// Calls `$make!` with a type in which values are added up.
macro_rules! by_type {
    ($added:expr, $make:ident, $other:expr) => {
        match $added {
            Some(DataType::Int64) => $make!(Int64Type),
            Some(DataType::UInt64) => $make!(UInt64Type),
            Some(DataType::Duration(TimeUnit::Second)) => $make!(DurationSecondType),
            Some(DataType::Duration(TimeUnit::Millisecond)) => $make!(DurationMillisecondType),
            Some(DataType::Duration(TimeUnit::Microsecond)) => $make!(DurationMicrosecondType),
            Some(DataType::Duration(TimeUnit::Nanosecond)) => $make!(DurationNanosecondType),
            _ => $other,
        }
    };
}

impl AggregateUDFImpl for CheckedAverage {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let Some(added) = added(arguments.input_fields[0].data_type()) else {
            return self.inner.state_fields(arguments);
        };
        let field = |name, data_type| {
            let name = format_state_name(arguments.name, name);
            Arc::new(Field::new(name, data_type, true))
        };
        Ok(match arguments.is_distinct {
            true => {
                let values = Field::new_list_field(added, true);
                vec![field("avg distinct", DataType::List(Arc::new(values)))]
            }
            false => vec![
                field("sum", total_type(&added)),
                field("count", DataType::UInt64),
            ],
        })
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let added = added(arguments.expr_fields[0].data_type());
        let average = arguments.return_field.data_type().clone();
        macro_rules! accumulator {
            ($value:ty) => {
                match (arguments.is_distinct, added) {
                    (true, Some(added)) => Box::new(DistinctAverage::<$value> {
                        values: DistinctTotal::new(added.clone()),
                        added,
                        average,
                    }) as _,
                    (_, Some(added)) => Box::new(Average::<$value> {
                        total: Total::new(added.clone()),
                        added,
                        average,
                    }) as _,
                    (_, None) => return self.inner.accumulator(arguments),
                }
            };
        }
        Ok(by_type!(
            added,
            accumulator,
            return self.inner.accumulator(arguments)
        ))
    }

    fn create_sliding_accumulator(
        &self,
        arguments: AccumulatorArgs,
    ) -> Result<Box<dyn Accumulator>> {
        if added(arguments.expr_fields[0].data_type()).is_some() {
            return self.accumulator(arguments);
        }
        match arguments.return_field.data_type() {
            DataType::Float64 if !arguments.is_distinct => Ok(sliding::average()),
            _ => self.inner.create_sliding_accumulator(arguments),
        }
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        match added(arguments.expr_fields[0].data_type()) {
            Some(DataType::Duration(_)) => false,
            Some(_) => !arguments.is_distinct,
            None => self.inner.groups_accumulator_supported(arguments),
        }
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match added(arguments.expr_fields[0].data_type()) {
            Some(DataType::UInt64) => Ok(Box::new(GroupAverages::<UInt64Type>::new())),
            Some(_) => Ok(Box::new(GroupAverages::<Int64Type>::new())),
            None => self.inner.create_groups_accumulator(arguments),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }
}

/// Returns the float that is nearest to an average.
fn mean(total: i128, rows: u64) -> f64 {
    if total.unsigned_abs() <= FLOAT_INTEGERS_MAX {
        return total as f64 / rows as f64;
    }
    // A quotient of more bits than a float has, and one that stands for the rest of the division: their
    // conversion rounds once, and the power of two changes no bit.
    let (size, rows) = (total.unsigned_abs(), u128::from(rows));
    let shift = size.leading_zeros() - 1;
    let shifted = size << shift;
    let bits = ((shifted / rows) << 1) | u128::from(!shifted.is_multiple_of(rows));
    let mean = bits as f64 * 2_f64.powi(-(shift as i32) - 1);
    if total < 0 { -mean } else { mean }
}

/// Returns an average of this type: a float of integers, or a duration.
fn average_of<V: Numbers>(
    total: Option<i128>,
    rows: usize,
    average: &DataType,
) -> Result<ScalarValue>
where
    i128: TotalOf<V::Native>,
{
    match average {
        DataType::Float64 => Ok(total.map(|total| mean(total, rows as u64)).into()),
        durations => {
            let average = total.map(|total| total / rows as i128);
            scalar::<V, Decimal128Type>(average, durations)
        }
    }
}

/// The average of all rows, or of those in a window.
#[derive(Debug)]
struct Average<V: Numbers> {
    total: Total<V, Decimal128Type>,
    added: DataType,
    average: DataType,
}

impl<V: Numbers> Accumulator for Average<V>
where
    i128: TotalOf<V::Native>,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.total.update_batch(&[cast(&values[0], &self.added)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states[1].as_primitive::<UInt64Type>().iter().flatten();
        let rows = rows.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX));
        let rows = self.total.rows + rows.sum::<usize>();
        self.total.merge_batch(states)?;
        self.total.rows = rows;
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut state = self.total.state()?;
        state.push((self.total.rows as u64).into());
        Ok(state)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        average_of::<V>(self.total.known(), self.total.rows, &self.average)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.total.retract_batch(&[cast(&values[0], &self.added)?])
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

/// The average of the different values of all rows, or of those in a window.
#[derive(Debug)]
struct DistinctAverage<V: Numbers> {
    values: DistinctTotal<V, Decimal128Type>,
    added: DataType,
    average: DataType,
}

impl<V: Numbers> Accumulator for DistinctAverage<V>
where
    V::Native: std::hash::Hash + Eq,
    i128: TotalOf<V::Native>,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(&[cast(&values[0], &self.added)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let rows = self.values.values.len();
        let total = (rows > 0).then_some(self.values.total);
        average_of::<V>(total, rows, &self.average)
    }

    fn size(&self) -> usize {
        size_of_val(self) - size_of_val(&self.values) + self.values.size()
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.retract_batch(&[cast(&values[0], &self.added)?])
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

/// The averages of groups of integers.
struct GroupAverages<V> {
    totals: Vec<i128>,
    /// Those that are no nulls. A group without any has no average.
    rows: Vec<u64>,
    value: PhantomData<V>,
}

impl<V> GroupAverages<V> {
    fn new() -> Self {
        Self {
            totals: Vec::new(),
            rows: Vec::new(),
            value: PhantomData,
        }
    }

    fn add(&mut self, group: usize, total: i128, rows: u64) {
        // A total of twice the bits holds any sum of 2^63 values, more than there are.
        self.totals[group] = self.totals[group].wrapping_add(total);
        self.rows[group] += rows;
    }

    fn resize(&mut self, groups: usize) {
        self.totals.resize(groups, 0);
        self.rows.resize(groups, 0);
    }
}

impl<V> GroupsAccumulator for GroupAverages<V>
where
    V: Numbers<Native: Into<i128>>,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_of_row: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.resize(groups);
        let values = cast(&values[0], &V::DATA_TYPE)?;
        let values = values.as_primitive::<V>();
        let kept = kept(values, filter);
        for (row, (group, value)) in zip(group_of_row, values.values()).enumerate() {
            if kept.as_ref().is_none_or(|kept| kept.is_valid(row)) {
                self.add(*group, (*value).into(), 1);
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        group_of_row: &[usize],
        groups: usize,
    ) -> Result<()> {
        self.resize(groups);
        let totals = states[0].as_primitive::<Decimal128Type>();
        let rows = states[1].as_primitive::<UInt64Type>();
        for (group, (total, rows)) in zip(group_of_row, zip(totals, rows)) {
            self.add(*group, total.unwrap_or(0), rows.unwrap_or(0));
        }
        Ok(())
    }

    fn state(&mut self, emitted: EmitTo) -> Result<Vec<ArrayRef>> {
        let totals = emitted.take_needed(&mut self.totals);
        let rows = emitted.take_needed(&mut self.rows);
        states(totals, rows)
    }

    fn evaluate(&mut self, emitted: EmitTo) -> Result<ArrayRef> {
        let totals = emitted.take_needed(&mut self.totals);
        let rows = emitted.take_needed(&mut self.rows);
        let averages = zip(totals, rows).map(|(total, rows)| (rows > 0).then(|| mean(total, rows)));
        Ok(Arc::new(averages.collect::<Float64Array>()))
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = cast(&values[0], &V::DATA_TYPE)?;
        let values = values.as_primitive::<V>();
        let kept = kept(values, filter);
        let is_kept = |row| kept.as_ref().is_none_or(|kept| kept.is_valid(row));
        let totals = values.values().iter().enumerate();
        let totals = totals.map(|(row, value)| match is_kept(row) {
            true => (*value).into(),
            false => 0,
        });
        let rows = (0..values.len()).map(|row| u64::from(is_kept(row)));
        states(totals.collect(), rows.collect())
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<i128>() + self.rows.capacity() * size_of::<u64>()
    }
}

fn states(totals: Vec<i128>, rows: Vec<u64>) -> Result<Vec<ArrayRef>> {
    let totals = PrimitiveArray::<Decimal128Type>::from_iter_values(totals);
    let totals = totals.with_precision_and_scale(DECIMAL128_MAX_PRECISION, 0)?;
    Ok(vec![Arc::new(totals), Arc::new(UInt64Array::from(rows))])
}
