//! The function `sum`, whose results are right or errors: in the place of DataFusion's, which wraps
//! around. Sums of floats stay DataFusion's, but over window frames that slide: those are in
//! `sliding.rs`. `averages.rs` has the totals of averages from here.
//!
//! Totals are counted in a type that is wider than the result's, so that only the result can be out
//! of range, and no part of the rows.

use std::{
    fmt::Debug,
    hash::Hash,
    marker::PhantomData,
    mem::{size_of, size_of_val},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, BooleanArray, PrimitiveArray},
    buffer::NullBuffer,
    datatypes::{
        ArrowPrimitiveType, DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType,
        Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
        DurationMillisecondType, DurationNanosecondType, DurationSecondType, Field, FieldRef,
        Int64Type, IntervalDayTime, IntervalDayTimeType, IntervalMonthDayNano,
        IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, TimeUnit, UInt64Type, i256,
    },
    error::ArrowError,
};
use datafusion::{
    common::{HashMap, Result, ScalarValue, utils::SingleRowListArrayBuilder},
    functions_aggregate::sum::Sum,
    logical_expr::{
        Accumulator, AggregateUDFImpl, EmitTo, Expr, GroupsAccumulator, Operator, ReversedUDAF,
        SetMonotonicity, Signature, StatisticsArgs,
        expr::AggregateFunction,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::{AggregateOrderSensitivity, format_state_name},
    },
    physical_expr::NullState,
};

use crate::{overflow::check_digits, sliding};

/// DataFusion's `sum`, but for the accumulators.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct CheckedSum(Sum);

/// Calls `$make!` with the type of a sum and that of its total; returns `$other` if it has none.
macro_rules! by_type {
    ($sum:expr, $make:ident, $other:expr) => {
        match $sum {
            DataType::Int64 => $make!(Int64Type, Decimal128Type),
            DataType::UInt64 => $make!(UInt64Type, Decimal128Type),
            DataType::Decimal32(_, _) => $make!(Decimal32Type, Decimal128Type),
            DataType::Decimal64(_, _) => $make!(Decimal64Type, Decimal128Type),
            // A sum has ten digits more than its values, if there are as many.
            DataType::Decimal128(digits, _) if *digits < DECIMAL128_MAX_PRECISION => {
                $make!(Decimal128Type, Decimal128Type)
            }
            DataType::Decimal128(_, _) => $make!(Decimal128Type, Decimal256Type),
            DataType::Decimal256(_, _) => $make!(Decimal256Type, Decimal256Type),
            DataType::Duration(TimeUnit::Second) => $make!(DurationSecondType, Decimal128Type),
            DataType::Duration(TimeUnit::Millisecond) => {
                $make!(DurationMillisecondType, Decimal128Type)
            }
            DataType::Duration(TimeUnit::Microsecond) => {
                $make!(DurationMicrosecondType, Decimal128Type)
            }
            DataType::Duration(TimeUnit::Nanosecond) => {
                $make!(DurationNanosecondType, Decimal128Type)
            }
            DataType::Interval(IntervalUnit::YearMonth) => {
                $make!(IntervalYearMonthType, Decimal128Type)
            }
            DataType::Interval(IntervalUnit::DayTime) => {
                $make!(IntervalDayTimeType, IntervalDayTimeType)
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                $make!(IntervalMonthDayNanoType, IntervalMonthDayNanoType)
            }
            _ => $other,
        }
    };
}

/// Returns the type of the total of a sum of this type.
pub(crate) fn total_type(sum: &DataType) -> DataType {
    let scale = match sum {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    };
    macro_rules! data_type {
        ($value:ty, $total:ty) => {
            match <$total>::DATA_TYPE {
                DataType::Decimal128(_, _) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale),
                DataType::Decimal256(_, _) => DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale),
                other => other,
            }
        };
    }
    by_type!(sum, data_type, sum.clone())
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if arguments.is_distinct {
            return self.0.state_fields(arguments);
        }
        let name = format_state_name(arguments.name, "sum");
        let total = total_type(arguments.return_type());
        Ok(vec![Arc::new(Field::new(name, total, true))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let sum = arguments.return_field.data_type().clone();
        macro_rules! accumulator {
            ($value:ty, $total:ty) => {
                match arguments.is_distinct {
                    true => Box::new(DistinctTotal::<$value, $total>::new(sum)) as _,
                    false => Box::new(Total::<$value, $total>::new(sum)) as _,
                }
            };
        }
        Ok(by_type!(
            arguments.return_field.data_type(),
            accumulator,
            return self.0.accumulator(arguments)
        ))
    }

    fn create_sliding_accumulator(
        &self,
        arguments: AccumulatorArgs,
    ) -> Result<Box<dyn Accumulator>> {
        match arguments.return_field.data_type() {
            DataType::Float64 if arguments.is_distinct => {
                self.0.create_sliding_accumulator(arguments)
            }
            DataType::Float64 => Ok(sliding::sum()),
            _ => self.accumulator(arguments),
        }
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        self.0.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let sum = arguments.return_field.data_type().clone();
        macro_rules! accumulator {
            ($value:ty, $total:ty) => {
                Box::new(GroupTotals::<$value, $total>::new(sum)) as _
            };
        }
        Ok(by_type!(
            arguments.return_field.data_type(),
            accumulator,
            return self.0.create_groups_accumulator(arguments)
        ))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.0.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.0.order_sensitivity()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.0.set_monotonicity(data_type)
    }

    /// Of floats: sums of integers and decimals are no operators in a plan.
    fn simplify_expr_op_literal(
        &self,
        function: &AggregateFunction,
        argument: &Expr,
        operator: Operator,
        literal: &Expr,
        is_left: bool,
    ) -> Result<Option<Expr>> {
        let sum = &self.0;
        sum.simplify_expr_op_literal(function, argument, operator, literal, is_left)
    }

    fn value_from_stats(&self, arguments: &StatisticsArgs) -> Option<ScalarValue> {
        self.0.value_from_stats(arguments)
    }
}

/// Types of numbers that accumulators may have.
pub(crate) trait Numbers: ArrowPrimitiveType + Debug + Send + Sync {}

impl<T: ArrowPrimitiveType + Debug + Send + Sync> Numbers for T {}

/// A total of values `V`, as wide as any sum of them, or checked.
pub(crate) trait TotalOf<V>: ArrowNativeTypeOp + From<V> {
    fn narrow(self) -> Option<V>;
}

macro_rules! total_of {
    ($total:ty, $($value:ty),*) => {
        $(impl TotalOf<$value> for $total {
            fn narrow(self) -> Option<$value> {
                self.try_into().ok()
            }
        })*
    };
}

total_of!(i128, i32, i64, u64, i128);
total_of!(i256, i256);
total_of!(IntervalDayTime, IntervalDayTime);
total_of!(IntervalMonthDayNano, IntervalMonthDayNano);

impl TotalOf<i128> for i256 {
    fn narrow(self) -> Option<i128> {
        self.to_i128()
    }
}

fn out_of_range() -> ArrowError {
    ArrowError::ComputeError("the result is out of range: a sum".into())
}

/// Returns the sum of the values that are no nulls.
fn add_up<V: Numbers, T: ArrowNativeTypeOp + From<V::Native>>(
    values: &PrimitiveArray<V>,
) -> Result<T> {
    let add = |total: T, values: &[V::Native]| {
        let mut values = values.iter();
        values.try_fold(total, |total, value| total.add_checked((*value).into()))
    };
    let total = match values.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => add(T::ZERO, values.values()),
        Some(nulls) => nulls.valid_slices().try_fold(T::ZERO, |total, (from, to)| {
            add(total, &values.values()[from..to])
        }),
    };
    total.map_err(|_| out_of_range().into())
}

/// Returns the rows that are no nulls and that a filter keeps; `None`: all.
pub(crate) fn kept(values: &dyn Array, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let filtered = filter.map(|filter| match filter.nulls() {
        None => filter.values().clone(),
        Some(nulls) => filter.values() & nulls.inner(),
    });
    NullBuffer::union(values.nulls(), filtered.map(NullBuffer::new).as_ref())
}

/// Makes the sums of totals.
fn sums<V, T>(
    totals: impl IntoIterator<Item = T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef>
where
    V: Numbers,
    T: Numbers<Native: TotalOf<V::Native>>,
{
    let values = totals.into_iter().map(TotalOf::narrow);
    let values: Option<Vec<_>> = values.collect();
    let values = values.ok_or_else(out_of_range)?;
    let sums = PrimitiveArray::<V>::new(values.into(), nulls).with_data_type(data_type.clone());
    let sums: ArrayRef = Arc::new(sums);
    check_digits(&sums).map_err(|_| out_of_range())?;
    Ok(sums)
}

pub(crate) fn scalar<V, T>(total: Option<T::Native>, data_type: &DataType) -> Result<ScalarValue>
where
    V: Numbers,
    T: Numbers<Native: TotalOf<V::Native>>,
{
    match total {
        None => ScalarValue::try_new_null(data_type),
        Some(total) => ScalarValue::try_from_array(&sums::<V, T>([total], None, data_type)?, 0),
    }
}

/// The sum of all rows, or of those in a window.
#[derive(Debug)]
pub(crate) struct Total<V: Numbers, T: Numbers> {
    total: T::Native,
    /// The rows in it that are no nulls.
    pub(crate) rows: usize,
    sum: DataType,
    value: PhantomData<V>,
}

impl<V: Numbers, T: Numbers> Total<V, T> {
    pub(crate) fn new(sum: DataType) -> Self {
        Self {
            total: T::Native::ZERO,
            rows: 0,
            sum,
            value: PhantomData,
        }
    }

    fn add<A>(&mut self, values: &ArrayRef) -> Result<()>
    where
        A: Numbers,
        T::Native: From<A::Native>,
    {
        let added = add_up::<A, T::Native>(values.as_primitive())?;
        let total = self.total.add_checked(added);
        self.total = total.map_err(|_| out_of_range())?;
        self.rows += values.len() - values.null_count();
        Ok(())
    }

    pub(crate) fn known(&self) -> Option<T::Native> {
        (self.rows > 0).then_some(self.total)
    }
}

impl<V, T> Accumulator for Total<V, T>
where
    V: Numbers,
    T: Numbers<Native: TotalOf<V::Native>>,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add::<V>(&values[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add::<T>(&states[0])
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let state = ScalarValue::new_primitive::<T>(self.known(), &total_type(&self.sum))?;
        Ok(vec![state])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        scalar::<V, T>(self.known(), &self.sum)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let removed = add_up::<V, T::Native>(values[0].as_primitive())?;
        let total = self.total.sub_checked(removed);
        self.total = total.map_err(|_| out_of_range())?;
        self.rows -= values[0].len() - values[0].null_count();
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

/// The sum of the different values of all rows, or of those in a window.
#[derive(Debug)]
pub(crate) struct DistinctTotal<V: Numbers, T: Numbers> {
    /// How often each value is there.
    pub(crate) values: HashMap<V::Native, usize>,
    pub(crate) total: T::Native,
    sum: DataType,
}

impl<V, T> DistinctTotal<V, T>
where
    V: Numbers<Native: Hash + Eq>,
    T: Numbers<Native: TotalOf<V::Native>>,
{
    pub(crate) fn new(sum: DataType) -> Self {
        Self {
            values: HashMap::default(),
            total: T::Native::ZERO,
            sum,
        }
    }
}

impl<V, T> Accumulator for DistinctTotal<V, T>
where
    V: Numbers<Native: Hash + Eq>,
    T: Numbers<Native: TotalOf<V::Native>>,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<V>().iter().flatten() {
            let times = self.values.entry(value).or_default();
            *times += 1;
            if *times == 1 {
                let total = self.total.add_checked(value.into());
                self.total = total.map_err(|_| out_of_range())?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let mut lists = states[0].as_list::<i32>().iter().flatten();
        lists.try_for_each(|values| self.update_batch(&[values]))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = self.values.keys().copied();
        let values = PrimitiveArray::<V>::from_iter_values(values).with_data_type(self.sum.clone());
        let values = SingleRowListArrayBuilder::new(Arc::new(values));
        Ok(vec![values.build_list_scalar()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let total = (!self.values.is_empty()).then_some(self.total);
        scalar::<V, T>(total, &self.sum)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<(V::Native, usize)>()
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<V>().iter().flatten() {
            let Some(times) = self.values.get_mut(&value) else {
                continue;
            };
            *times -= 1;
            if *times == 0 {
                self.values.remove(&value);
                let total = self.total.sub_checked(value.into());
                self.total = total.map_err(|_| out_of_range())?;
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

/// The sums of groups.
struct GroupTotals<V: Numbers, T: Numbers> {
    totals: Vec<T::Native>,
    nulls: NullState,
    sum: DataType,
    value: PhantomData<V>,
}

impl<V: Numbers, T: Numbers> GroupTotals<V, T> {
    /// A total of twice the bits holds any sum of 2^63 values, more than there are, so that adding
    /// need not be checked.
    const IS_WIDE: bool = size_of::<T::Native>() > size_of::<V::Native>();

    fn new(sum: DataType) -> Self {
        Self {
            totals: Vec::new(),
            nulls: NullState::new(),
            sum,
            value: PhantomData,
        }
    }

    fn add<A>(
        &mut self,
        values: &ArrayRef,
        group_of_row: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()>
    where
        A: Numbers,
        T::Native: From<A::Native>,
    {
        self.totals.resize(groups, T::Native::ZERO);
        let totals = &mut self.totals;
        let mut is_out_of_range = false;
        self.nulls.accumulate(
            group_of_row,
            values.as_primitive::<A>(),
            filter,
            groups,
            |group, value| {
                let total = &mut totals[group];
                if Self::IS_WIDE {
                    *total = total.add_wrapping(value.into());
                    return;
                }
                match total.add_checked(value.into()) {
                    Ok(sum) => *total = sum,
                    Err(_) => is_out_of_range = true,
                }
            },
        );
        match is_out_of_range {
            false => Ok(()),
            true => Err(out_of_range().into()),
        }
    }
}

impl<V, T> GroupsAccumulator for GroupTotals<V, T>
where
    V: Numbers,
    T: Numbers<Native: TotalOf<V::Native>>,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_of_row: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.add::<V>(&values[0], group_of_row, filter, groups)
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        group_of_row: &[usize],
        groups: usize,
    ) -> Result<()> {
        self.add::<T>(&states[0], group_of_row, None, groups)
    }

    fn state(&mut self, emitted: EmitTo) -> Result<Vec<ArrayRef>> {
        let totals = emitted.take_needed(&mut self.totals);
        let nulls = self.nulls.build(emitted);
        let totals = PrimitiveArray::<T>::new(totals.into(), nulls);
        Ok(vec![Arc::new(totals.with_data_type(total_type(&self.sum)))])
    }

    fn evaluate(&mut self, emitted: EmitTo) -> Result<ArrayRef> {
        let totals = emitted.take_needed(&mut self.totals);
        let nulls = self.nulls.build(emitted);
        sums::<V, T>(totals, nulls, &self.sum)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<V>();
        let totals: PrimitiveArray<T> = values.unary(Into::into);
        let (_, totals, _) = totals.into_parts();
        let totals = PrimitiveArray::<T>::new(totals, kept(values, filter));
        Ok(vec![Arc::new(totals.with_data_type(total_type(&self.sum)))])
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<T::Native>() + self.nulls.size()
    }
}
