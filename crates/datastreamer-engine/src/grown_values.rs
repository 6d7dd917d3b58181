//! Functions whose values may become far longer than what they are made of: a text of a parameter
//! takes the place of each character, or stands between all elements of a list. They are DataFusion's,
//! called for some rows at a time, so that no batch of theirs takes more memory than others.
//!
//! `engine.rs` registers them under the names of DataFusion's. The memory of a query does not count
//! values of functions, so these are bounded here. Functions that repeat values a given number of
//! times are not there at all (`UNBOUNDED_FUNCTIONS` in `engine.rs`); all others make values of about
//! the size of their arguments.

use std::{mem, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::concat,
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue, tree_node::Transformed},
    logical_expr::{
        ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, lit, when,
    },
    prelude::SessionContext,
};

use crate::{
    error::{EngineError, EngineErrorKind},
    expression_rule::ExpressionRule,
};

/// 64 MiB of values in a batch, half of what a batch of a file has at most: 8 KiB for each of the
/// usual 8192 rows. Values that are not longer than what they are made of may have more.
const GROWN_BYTES_MAX: usize = 64 << 20;
/// 16 MiB of values at a time, if each becomes as long as it can.
const SLICE_BYTES_MAX: usize = 16 << 20;
/// The most that an element of a list takes as a text, if it is no text: a number or a time.
const ELEMENT_BYTES: usize = 64;

/// Takes a negative length of `lpad` and `rpad` for 0, as PostgreSQL does: DataFusion would ask for all memory there is.
/// It belongs behind the rule that gives the length 64 bits.
pub(crate) const NO_NEGATIVE_LENGTH: ExpressionRule = ExpressionRule {
    name: "no_negative_length",
    change: |mut expression, _schema| {
        let Expr::ScalarFunction(function) = &mut expression else {
            return Ok(Transformed::no(expression));
        };
        let ("lpad" | "rpad", Some(length)) = (function.func.name(), function.args.get_mut(1))
        else {
            return Ok(Transformed::no(expression));
        };
        let given = mem::take(length);
        *length = when(given.clone().lt(lit(0_i64)), lit(0_i64)).otherwise(given)?;
        Ok(Transformed::yes(expression))
    },
};

const FUNCTIONS: [(&str, Growth); 6] = [
    ("replace", Growth::Replaced),
    ("regexp_replace", Growth::ReplacedByPattern),
    ("array_to_string", Growth::Joined),
    ("array_replace", Growth::ElementsReplaced),
    ("array_replace_n", Growth::ElementsReplaced),
    ("array_replace_all", Growth::ElementsReplaced),
];

/// How long a value may become, by its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Growth {
    /// The third text for each occurrence of the second in the first.
    Replaced,
    /// The third text for each match in the first, with parts of the match.
    ReplacedByPattern,
    /// The elements of the first, with the second text between them and the third for nulls.
    Joined,
    /// The third value for elements of the first.
    ElementsReplaced,
}

/// Puts the bounded functions in the place of DataFusion's.
pub(crate) fn register(context: &SessionContext) {
    for (name, growth) in FUNCTIONS {
        let function = context
            .state_ref()
            .read()
            .scalar_functions()
            .get(name)
            .cloned();
        if let Some(inner) = function {
            context.register_udf(ScalarUDF::from(BoundedFunction { inner, growth }));
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BoundedFunction {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl BoundedFunction {
    /// Calls the function for as many rows at a time as can only make a bounded number of bytes.
    fn invoke_in_slices(&self, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let sizes: Vec<_> = args.args.iter().map(Sizes::of).collect();
        let mut made = Made::new(args);
        let mut from = 0;
        while from < args.number_rows {
            let mut bytes = 0_usize;
            let mut to = from;
            while to < args.number_rows {
                let longest = self.growth.bytes_max(&sizes, to);
                if to > from && bytes.saturating_add(longest) > SLICE_BYTES_MAX {
                    break;
                }
                bytes = bytes.saturating_add(longest);
                to += 1;
            }
            // More than a slice is one value alone.
            if bytes > made.bytes_max && !self.may_have(&args.args, from, made.bytes_max) {
                return Err(self.too_long());
            }
            let slice = self.inner.invoke_with_args(slice(args, from, to))?;
            if !made.add(slice.into_array(to - from)?) {
                return Err(self.too_long());
            }
            from = to;
        }
        made.finish()
    }

    /// Returns whether the value of a row is known to have at most these bytes.
    fn may_have(&self, arguments: &[ColumnarValue], row: usize, bytes_max: usize) -> bool {
        let bytes = self.growth.bytes(arguments, row);
        bytes.is_some_and(|bytes| bytes <= bytes_max)
    }

    fn too_long(&self) -> datafusion::common::DataFusionError {
        let text = format!("the values of {} become too long", self.inner.name());
        EngineError::new(EngineErrorKind::Computation, text).into()
    }
}

/// The results of the slices.
struct Made {
    arrays: Vec<ArrayRef>,
    bytes: usize,
    bytes_max: usize,
}

impl Made {
    fn new(args: &ScalarFunctionArgs) -> Self {
        let given = args.args.iter().map(|argument| match argument {
            ColumnarValue::Array(array) => slice_bytes(array),
            ColumnarValue::Scalar(_) => 0,
        });
        Self {
            arrays: Vec::new(),
            bytes: 0,
            bytes_max: GROWN_BYTES_MAX.max(given.sum::<usize>().saturating_mul(2)),
        }
    }

    /// Adds a result; returns whether all are short enough.
    fn add(&mut self, array: ArrayRef) -> bool {
        self.bytes = self.bytes.saturating_add(slice_bytes(&array));
        self.arrays.push(array);
        self.bytes <= self.bytes_max
    }

    fn finish(self) -> Result<ColumnarValue> {
        let arrays: Vec<_> = self.arrays.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&arrays)?))
    }
}

fn slice_bytes(array: &ArrayRef) -> usize {
    let bytes = array.to_data().get_slice_memory_size();
    bytes.unwrap_or_else(|_| array.get_array_memory_size())
}

fn slice(args: &ScalarFunctionArgs, from: usize, to: usize) -> ScalarFunctionArgs {
    let arguments = args.args.iter().map(|argument| match argument {
        ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(from, to - from)),
        scalar => scalar.clone(),
    });
    ScalarFunctionArgs {
        args: arguments.collect(),
        arg_fields: args.arg_fields.clone(),
        number_rows: to - from,
        return_field: Arc::clone(&args.return_field),
        config_options: Arc::clone(&args.config_options),
    }
}

/// The sizes of an argument's values.
enum Sizes<'a> {
    Same(Size),
    Of(&'a ArrayRef),
}

#[derive(Clone, Copy, Default)]
struct Size {
    bytes: usize,
    /// Of a list.
    elements: usize,
    /// Of a pattern's replacement: how often it repeats a part of the match.
    parts: usize,
}

impl<'a> Sizes<'a> {
    fn of(argument: &'a ColumnarValue) -> Self {
        match argument {
            ColumnarValue::Array(array) => Self::Of(array),
            ColumnarValue::Scalar(value) => Self::Same(match value.try_as_str() {
                Some(text) => Size::of_text(text.unwrap_or_default()),
                None => size_of_scalar(value),
            }),
        }
    }

    fn at(&self, row: usize) -> Size {
        match self {
            Self::Same(size) => *size,
            Self::Of(array) => size_at(array, row),
        }
    }
}

impl Size {
    fn of_text(text: &str) -> Self {
        Self {
            bytes: text.len(),
            elements: 0,
            parts: text.matches(['\\', '$']).count(),
        }
    }

    fn of_bytes(bytes: usize) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }
}

fn size_of_scalar(value: &ScalarValue) -> Size {
    match value.to_array() {
        Ok(array) => size_at(&array, 0),
        Err(_) => Size::of_bytes(value.size()),
    }
}

fn size_at(array: &ArrayRef, row: usize) -> Size {
    if array.is_null(row) {
        return Size::default();
    }
    let of_list = |values: ArrayRef| Size {
        bytes: slice_bytes(&values),
        elements: values.len(),
        parts: 0,
    };
    match array.data_type() {
        DataType::Utf8 => Size::of_text(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Size::of_text(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Size::of_text(array.as_string_view().value(row)),
        DataType::List(_) => of_list(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => of_list(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(_, _) => of_list(array.as_fixed_size_list().value(row)),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            match dictionary.normalized_keys().get(row) {
                Some(key) => size_at(dictionary.values(), *key),
                None => Size::default(),
            }
        }
        _ => Size::of_bytes(slice_bytes(&array.slice(row, 1))),
    }
}

impl Growth {
    /// Returns how many bytes the value of a row may have.
    fn bytes_max(self, sizes: &[Sizes<'_>], row: usize) -> usize {
        let at = |place: usize| {
            let size = sizes.get(place).map(|sizes| sizes.at(row));
            size.unwrap_or_default()
        };
        let (first, second, third) = (at(0), at(1), at(2));
        match self {
            Self::Replaced => {
                let times = match second.bytes {
                    0 => first.bytes + 1,
                    bytes => first.bytes / bytes,
                };
                first
                    .bytes
                    .saturating_add(times.saturating_mul(third.bytes))
            }
            Self::ReplacedByPattern => {
                // Matches do not overlap, but each may be empty.
                let texts = (first.bytes + 1).saturating_mul(third.bytes);
                let parts = first.bytes.saturating_mul(third.parts + 1);
                texts.saturating_add(parts)
            }
            Self::Joined => {
                let each = second.bytes.max(ELEMENT_BYTES).saturating_add(third.bytes);
                first
                    .bytes
                    .saturating_add(first.elements.saturating_mul(each))
            }
            Self::ElementsReplaced => {
                let replaced = first.elements.saturating_mul(third.bytes);
                first.bytes.saturating_add(replaced)
            }
        }
    }

    /// Returns how many bytes the value of a row has, if that is easily found out.
    fn bytes(self, arguments: &[ColumnarValue], row: usize) -> Option<usize> {
        let (Self::Replaced, [text, from, to]) = (self, arguments) else {
            return None;
        };
        let (text, from, to) = (text_at(text, row)?, text_at(from, row)?, text_at(to, row)?);
        let times = text.matches(from.as_str()).count();
        let left = text.len().checked_sub(times.checked_mul(from.len())?)?;
        left.checked_add(times.checked_mul(to.len())?)
    }
}

fn text_at(argument: &ColumnarValue, row: usize) -> Option<String> {
    let value = match argument {
        ColumnarValue::Array(array) => ScalarValue::try_from_array(array, row).ok()?,
        ColumnarValue::Scalar(value) => value.clone(),
    };
    value.try_as_str()?.map(ToOwned::to_owned)
}

impl ScalarUDFImpl for BoundedFunction {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let sizes: Vec<_> = args.args.iter().map(Sizes::of).collect();
        let mut is_constant = args.args.iter();
        let is_constant = is_constant.all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        if is_constant {
            let is_short = self.growth.bytes_max(&sizes, 0) <= GROWN_BYTES_MAX
                || self.may_have(&args.args, 0, GROWN_BYTES_MAX);
            return match is_short {
                true => self.inner.invoke_with_args(args),
                false => Err(self.too_long()),
            };
        }
        let mut rows = 0..args.number_rows;
        let bytes = rows.try_fold(0_usize, |bytes, row| {
            let bytes = bytes.saturating_add(self.growth.bytes_max(&sizes, row));
            (bytes <= SLICE_BYTES_MAX).then_some(bytes)
        });
        match bytes {
            Some(_) => self.inner.invoke_with_args(args),
            None => self.invoke_in_slices(&args),
        }
    }
}
