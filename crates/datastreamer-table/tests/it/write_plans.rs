//! What formats answer to a description of rows: stream now, survey first, or spool.

use std::{error::Error, sync::Arc};

use arrow::{
    array::{ArrayRef, Int32Array, ListArray, StringArray},
    datatypes::{DataType, Field, Int32Type, Schema},
    record_batch::RecordBatch,
};
use datastreamer_table::{
    ColumnStatistics, Format, RowsDescription, SpoolPlan, StreamPlan, Survey, TableEnd, TableError,
    WritePlan, WriterOptions,
};

type TestResult = Result<(), Box<dyn Error>>;

fn plan(format: Format, rows: &RowsDescription) -> Result<WritePlan, TableError> {
    format.plan(rows, &WriterOptions::default())
}

fn stream_of(plan: WritePlan) -> Result<StreamPlan, String> {
    match plan {
        WritePlan::Stream(stream) => Ok(stream),
        other => Err(format!("not streamed: {other:?}")),
    }
}

fn survey_of(plan: WritePlan) -> Result<Survey, String> {
    match plan {
        WritePlan::Survey(survey) => Ok(survey),
        other => Err(format!("not surveyed: {other:?}")),
    }
}

fn spool_of(plan: WritePlan) -> Result<SpoolPlan, String> {
    match plan {
        WritePlan::Spool(spool) => Ok(spool),
        other => Err(format!("not spooled: {other:?}")),
    }
}

/// A number without nulls and a text: only the text's width is unknown.
fn named() -> Result<RecordBatch, arrow::error::ArrowError> {
    let schema = Schema::new(vec![
        Field::new("n", DataType::Int32, false),
        Field::new("name", DataType::Utf8, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1, 2, 3])),
        Arc::new(StringArray::from(vec!["Sirius", "Vega", "Alcor"])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns)
}

/// Lists of varying length: FITS has their values behind the rows.
fn lists() -> Result<RecordBatch, arrow::error::ArrowError> {
    let lists = [Some(vec![Some(1), Some(2)]), Some(vec![])];
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    RecordBatch::try_from_iter([("list", Arc::new(lists) as ArrayRef)])
}

fn described(batch: &RecordBatch) -> RowsDescription {
    RowsDescription {
        rows: Some(batch.num_rows() as u64),
        ..RowsDescription::new(batch.schema())
    }
}

fn streamed(plan: StreamPlan, batch: &RecordBatch) -> Result<Vec<u8>, TableError> {
    let mut file = Vec::new();
    let mut table = plan.writer(&mut file)?;
    table.write(batch)?;
    table.finish(TableEnd::Complete)?;
    Ok(file)
}

fn spooled(plan: SpoolPlan, batch: &RecordBatch) -> Result<Vec<u8>, TableError> {
    let mut spool = plan.start()?;
    spool.write(batch)?;
    let table = spool.finish()?;
    let (mut file, length) = (Vec::new(), table.length());
    table.write_to(&mut file)?;
    assert_eq!(file.len() as u64, length);
    Ok(file)
}

#[test]
fn formats_that_need_no_row_beforehand_stream_whatever_is_known() -> TestResult {
    let batch = named()?;
    let formats = Format::ALL.into_iter();
    for format in formats.filter(|format| *format != Format::Fits) {
        for rows in [RowsDescription::new(batch.schema()), described(&batch)] {
            let plan = stream_of(plan(format, &rows)?)?;
            assert_eq!(plan.length(), None, "{format}");
            assert_eq!(plan.layout(), None, "{format}");
            let mut file = Vec::new();
            let options = WriterOptions::default();
            let mut table = format.writer(&mut file, batch.schema(), &options)?;
            table.write(&batch)?;
            table.finish(TableEnd::Complete)?;
            assert_eq!(streamed(plan, &batch)?, file, "{format}");
        }
    }
    Ok(())
}

#[test]
fn statistics_and_a_number_of_rows_make_a_stream_of_known_length() -> TestResult {
    let batch = named()?;
    let name = ColumnStatistics {
        text_bytes_max: Some(6),
        ..ColumnStatistics::default()
    };
    let mut rows = described(&batch);
    rows.columns = vec![ColumnStatistics::default(), name];
    let stream = stream_of(plan(Format::Fits, &rows)?)?;
    let length = stream.length();
    let file = streamed(stream, &batch)?;
    assert_eq!(length, Some(file.len() as u64));
    // Nothing is altered where the statistics are wrong.
    rows.columns[1].text_bytes_max = Some(5);
    let refused = streamed(stream_of(plan(Format::Fits, &rows)?)?, &batch);
    let refused = refused.err().map(|error| error.to_string());
    assert!(refused.is_some_and(|text| text.starts_with("row 1, column \"name\": ")));
    // Without the number of rows it must be counted.
    rows.rows = None;
    let survey = survey_of(plan(Format::Fits, &rows)?)?;
    assert_eq!(survey.columns(), [0_usize; 0]);
    Ok(())
}

#[test]
fn a_survey_asks_for_the_unknown_columns_alone_and_ends_in_a_stream() -> TestResult {
    let batch = named()?;
    let survey = survey_of(plan(Format::Fits, &described(&batch))?)?;
    assert_eq!(survey.columns(), [1]);
    let stream = stream_of(survey.add_all(&batch)?)?;
    let (length, layout) = (stream.length(), stream.layout().cloned());
    let file = streamed(stream, &batch)?;
    assert_eq!(length, Some(file.len() as u64));

    // Skipped, it is the same file.
    let survey = survey_of(plan(Format::Fits, &described(&batch))?)?;
    assert_eq!(spooled(survey.skip(), &batch)?, file);

    // With the layout the same rows need no survey.
    let mut rows = described(&batch);
    rows.layout = layout;
    let stream = stream_of(plan(Format::Fits, &rows)?)?;
    assert_eq!(stream.length(), length);
    assert_eq!(streamed(stream, &batch)?, file);
    // Other formats ignore it.
    let csv = stream_of(plan(Format::Csv, &rows)?)?;
    assert_eq!(csv.length(), None);
    assert!(streamed(csv, &batch)?.starts_with(b"n,name\r\n1,Sirius"));
    // So does FITS for another number of rows.
    rows.rows = Some(4);
    spool_of(plan(Format::Fits, &rows)?)?;
    Ok(())
}

#[test]
fn a_survey_of_texts_of_which_one_is_very_long_ends_in_a_spool() -> TestResult {
    let long = "x".repeat(2000);
    let mut texts = vec!["x"; 99];
    texts.push(&long);
    let texts = Arc::new(StringArray::from(texts));
    let batch = RecordBatch::try_from_iter([("text", texts as ArrayRef)])?;
    let survey = survey_of(plan(Format::Fits, &described(&batch))?)?;
    let spool = spool_of(survey.add_all(&batch)?)?;
    let file = spooled(spool, &batch)?;
    assert!(file.starts_with(b"SIMPLE  ="));
    Ok(())
}

#[test]
fn lists_of_varying_length_are_spooled_every_time() -> TestResult {
    let batch = lists()?;
    let mut rows = described(&batch);
    let mut spool = spool_of(plan(Format::Fits, &rows)?)?.start()?;
    spool.write(&batch)?;
    let table = spool.finish()?;
    let (length, layout) = (table.length(), table.layout());
    rows.layout = Some(layout);
    let again = spooled(spool_of(plan(Format::Fits, &rows)?)?, &batch)?;
    assert_eq!(again.len() as u64, length);
    Ok(())
}

#[test]
fn what_a_format_cannot_hold_fails_its_plan_or_the_survey() -> TestResult {
    let batch = named()?;
    let wide = Field::new("n", DataType::Utf8, false);
    let schema = Schema::new(vec![wide.with_name("ü")]);
    let refused = plan(Format::Fits, &RowsDescription::new(Arc::new(schema)));
    let expected = "column \"ü\": FITS holds ASCII names only";
    assert_eq!(
        refused.err().map(|error| error.to_string()).as_deref(),
        Some(expected)
    );

    let names = Arc::new(StringArray::from(vec!["a", "ü"]));
    let names = RecordBatch::try_from_iter([("name", names as ArrayRef)])?;
    let mut survey = survey_of(plan(Format::Fits, &described(&batch))?)?;
    survey.add(&RecordBatch::try_from_iter([(
        "name",
        Arc::clone(batch.column(1)),
    )])?)?;
    let refused = survey.add(&names).err().map(|error| error.to_string());
    let expected = "row 5, column \"name\": FITS holds printable ASCII only";
    assert_eq!(refused.as_deref(), Some(expected));
    Ok(())
}

trait AddAll {
    fn add_all(self, batch: &RecordBatch) -> Result<WritePlan, String>;
}

impl AddAll for Survey {
    /// Surveys the wanted columns of a batch with all columns.
    fn add_all(mut self, batch: &RecordBatch) -> Result<WritePlan, String> {
        let places = self.columns().to_vec();
        let wanted = batch.project(&places).map_err(|error| error.to_string())?;
        self.add(&wanted).map_err(|error| error.to_string())?;
        self.finish().map_err(|error| error.to_string())
    }
}
