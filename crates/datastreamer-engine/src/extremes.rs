//! The functions `min` and `max`, in the place of DataFusion's. In groups of floats those forget what
//! was before a NaN, and do not see infinities. NaN is greater than all numbers, as in orders.

use arrow::datatypes::{ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type};
use datafusion::{
    common::{Result, ScalarValue},
    functions_aggregate::min_max::{Max, Min},
    logical_expr::{
        Accumulator, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
        SetMonotonicity, Signature, StatisticsArgs, function::AccumulatorArgs,
        utils::AggregateOrderSensitivity,
    },
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator as Groups;

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// DataFusion's `min`, but for groups of floats.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Least(Min);

/// DataFusion's `max`, but for groups of floats.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Greatest(Max);

fn is_nan<T: PartialOrd>(value: T) -> bool {
    value.partial_cmp(&value).is_none()
}

/// Returns the smallest values of groups. Each begins with NaN, which no value is greater than.
fn least<T: ArrowPrimitiveType + Send>(nan: T::Native) -> Box<dyn GroupsAccumulator> {
    let keep_least = |least: &mut T::Native, value: T::Native| {
        if value < *least || is_nan(*least) {
            *least = value;
        }
    };
    Box::new(Groups::<T, _>::new(&T::DATA_TYPE, keep_least).with_starting_value(nan))
}

/// Returns the largest values of groups. Each begins with an infinity, which no value is less than.
fn greatest<T: ArrowPrimitiveType + Send>(infinity: T::Native) -> Box<dyn GroupsAccumulator> {
    let keep_greatest = |greatest: &mut T::Native, value: T::Native| {
        if value > *greatest || is_nan(value) {
            *greatest = value;
        }
    };
    Box::new(Groups::<T, _>::new(&T::DATA_TYPE, keep_greatest).with_starting_value(infinity))
}

/// Implements a function as the one within it, but for the accumulators of groups of floats.
macro_rules! function {
    ($function:ty, $groups:ident, $start:ident) => {
        impl AggregateUDFImpl for $function {
            fn name(&self) -> &str {
                self.0.name()
            }

            fn signature(&self) -> &Signature {
                self.0.signature()
            }

            fn return_type(&self, types: &[DataType]) -> Result<DataType> {
                self.0.return_type(types)
            }

            fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
                self.0.accumulator(arguments)
            }

            fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
                self.0.groups_accumulator_supported(arguments)
            }

            fn create_groups_accumulator(
                &self,
                arguments: AccumulatorArgs,
            ) -> Result<Box<dyn GroupsAccumulator>> {
                match arguments.return_field.data_type() {
                    DataType::Float16 => Ok($groups::<Float16Type>(F16::$start)),
                    DataType::Float32 => Ok($groups::<Float32Type>(f32::$start)),
                    DataType::Float64 => Ok($groups::<Float64Type>(f64::$start)),
                    _ => self.0.create_groups_accumulator(arguments),
                }
            }

            fn create_sliding_accumulator(
                &self,
                arguments: AccumulatorArgs,
            ) -> Result<Box<dyn Accumulator>> {
                self.0.create_sliding_accumulator(arguments)
            }

            fn is_descending(&self) -> Option<bool> {
                self.0.is_descending()
            }

            fn value_from_stats(&self, arguments: &StatisticsArgs) -> Option<ScalarValue> {
                self.0.value_from_stats(arguments)
            }

            fn order_sensitivity(&self) -> AggregateOrderSensitivity {
                self.0.order_sensitivity()
            }

            fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
                self.0.coerce_types(types)
            }

            fn reverse_expr(&self) -> ReversedUDAF {
                self.0.reverse_expr()
            }

            fn documentation(&self) -> Option<&Documentation> {
                self.0.documentation()
            }

            fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
                self.0.set_monotonicity(data_type)
            }
        }
    };
}

function!(Least, least, NAN);
function!(Greatest, greatest, NEG_INFINITY);
