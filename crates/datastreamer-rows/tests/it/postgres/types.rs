//! Every supported type, value by value; what is not supported, or not held, says so.

use arrow::{
    array::AsArray,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
        Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt32Type,
    },
    record_batch::RecordBatchReader,
};
use datastreamer_rows::postgres::PostgresErrorKind;
use datastreamer_table::meta;

use super::{Fixture, refused, texts};

fn some(values: &[&str]) -> Vec<Option<String>> {
    values
        .iter()
        .map(|value| Some((*value).to_owned()))
        .collect()
}

#[test]
fn numbers_come_as_they_are() {
    let fixture = Fixture::start();
    let of = |kind: &str, values: &str| format!("SELECT column1::{kind} FROM (VALUES {values}) t");
    let booleans = fixture.column("VALUES (true), (false), (NULL)");
    let booleans: Vec<_> = booleans.as_boolean().iter().collect();
    assert_eq!(booleans, [Some(true), Some(false), None]);
    assert_eq!(
        fixture.values::<Int16Type>(&of("int2", "(-32768), (NULL), (32767)")),
        [Some(i16::MIN), None, Some(i16::MAX)]
    );
    assert_eq!(
        fixture.values::<Int32Type>(&of("int4", "(-2147483648), (NULL), (2147483647)")),
        [Some(i32::MIN), None, Some(i32::MAX)]
    );
    let extremes = "(-9223372036854775808), (NULL), (9223372036854775807)";
    assert_eq!(
        fixture.values::<Int64Type>(&of("int8", extremes)),
        [Some(i64::MIN), None, Some(i64::MAX)]
    );
    assert_eq!(
        fixture.values::<UInt32Type>(&of("oid", "(0), (4294967295), (NULL)")),
        [Some(0), Some(u32::MAX), None]
    );
    assert_eq!(
        fixture.values::<Float32Type>(&of(
            "float4",
            "('1e-45'), ('-inf'), (NULL), ('3.4028235e38')"
        )),
        [Some(1e-45), Some(f32::NEG_INFINITY), None, Some(f32::MAX)]
    );
    let values = of("float8", "('5e-324'), ('nan'), ('-0'), (NULL)");
    let doubles = fixture.values::<Float64Type>(&values);
    assert_eq!(doubles[0], Some(5e-324));
    assert!(doubles[1].unwrap().is_nan());
    assert_eq!(doubles[2].unwrap().to_bits(), (-0.0_f64).to_bits());
    assert_eq!(doubles[3], None);
}

#[test]
fn exact_numbers_with_a_precision_are_decimals() {
    let fixture = Fixture::start();
    let decimals = |sql: &str| fixture.values::<Decimal128Type>(sql);
    assert_eq!(
        decimals(
            "SELECT column1::numeric(9,2) \
        FROM (VALUES (1.5), (-0.01), (NULL), (9999999.99), (0), (1200)) t"
        ),
        [
            Some(150),
            Some(-1),
            None,
            Some(999_999_999),
            Some(0),
            Some(120_000)
        ]
    );
    let nines = "9".repeat(38);
    let largest: i128 = nines.parse().unwrap();
    assert_eq!(
        decimals(&format!(
            "SELECT column1::numeric(38,0) FROM (VALUES ({nines}), (-{nines}), (1e37)) t"
        )),
        [Some(largest), Some(-largest), Some(10_i128.pow(37))]
    );
    assert_eq!(
        decimals(&format!(
            "SELECT column1::numeric(38,38) FROM (VALUES (.{nines}), (1e-38), (.5)) t"
        )),
        [Some(largest), Some(1), Some(5 * 10_i128.pow(37))]
    );
    // Groups of four digits and scales that do not match them.
    for scale in 0..9 {
        let sql = format!("SELECT 12345.678901234::numeric(20,{scale})");
        let texts = fixture.texts(&format!("SELECT ({sql})::text"));
        let text = texts[0].as_ref().unwrap();
        let digits: i128 = text.replace('.', "").parse().unwrap();
        assert_eq!(decimals(&sql), [Some(digits)], "{text}");
    }
    let schema = fixture.query("SELECT 1::numeric(9,2) a").unwrap().schema();
    assert_eq!(schema.field(0).data_type(), &DataType::Decimal128(9, 2));
}

#[test]
fn exact_numbers_of_any_size_are_the_text_that_the_server_writes() {
    let fixture = Fixture::start();
    let values = "VALUES (0::numeric), (0.00), (-1.50), (10000), (0.0001), (123456789.000100), \
        (1e30), (1e-30), (-0.5), (99999.99999), (NULL), ('NaN'), ('Infinity'), ('-Infinity'), \
        (repeat('7', 500)::numeric), (('0.' || repeat('3', 500))::numeric)";
    let expected = fixture.texts(&format!("SELECT column1::text FROM ({values}) t"));
    assert_eq!(expected.len(), 16);
    assert_eq!(fixture.texts(values), expected);
    // A scale that decimals of Arrow do not have.
    assert_eq!(
        fixture.texts("SELECT 12345::numeric(3,-2)"),
        some(&["12300"])
    );
    assert_eq!(
        fixture.texts("SELECT 0.00012::numeric(2,5)"),
        some(&["0.00012"])
    );
    assert_eq!(fixture.texts("SELECT 1::numeric(40,1)"), some(&["1.0"]));
}

#[test]
fn texts_come_as_they_are() {
    let fixture = Fixture::start();
    let mut expected = some(&["", "ä€😀", " a\t\n\r\u{1} ", "NULL"]);
    expected.push(None);
    let values = "VALUES (''), ('ä€😀'), (E' a\\t\\n\\r\\u0001 '), ('NULL'), (NULL)";
    for kind in ["text", "varchar", "varchar(9)"] {
        let sql = format!("SELECT column1::{kind} FROM ({values}) t");
        assert_eq!(fixture.texts(&sql), expected, "{kind}");
    }
    assert_eq!(fixture.texts("SELECT 'a'::char(3)"), some(&["a  "]));
    assert_eq!(fixture.texts("SELECT 'a b'::name"), some(&["a b"]));
    assert_eq!(
        fixture.texts("VALUES ('x'::\"char\"), (''::\"char\")"),
        some(&["x", ""])
    );
    assert_eq!(
        fixture.texts("SELECT '{\"a\" :  1}'::json"),
        some(&["{\"a\" :  1}"])
    );
    assert_eq!(
        fixture.texts("SELECT '{\"a\" :  1}'::jsonb"),
        some(&["{\"a\": 1}"])
    );
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    assert_eq!(
        fixture.texts(&format!("SELECT '{uuid}'::uuid")),
        some(&[uuid])
    );
}

#[test]
fn bytes_come_as_they_are() {
    let fixture = Fixture::start();
    let column = fixture.column(r"VALUES ('\x00ff10'::bytea), (''), (NULL)");
    let values: Vec<_> = column.as_binary::<i32>().iter().collect();
    assert_eq!(values, [Some(&b"\x00\xff\x10"[..]), Some(b""), None]);
}

#[test]
fn times_come_as_they_are() {
    let fixture = Fixture::start();
    assert_eq!(
        fixture.values::<Date32Type>("VALUES ('1970-01-01'::date), ('4713-01-01 BC'), (NULL)"),
        [Some(0), Some(-2_440_550), None]
    );
    assert_eq!(
        fixture.values::<Time64MicrosecondType>("VALUES ('00:00'::time), ('23:59:59.999999')"),
        [Some(0), Some(86_399_999_999)]
    );
    assert_eq!(
        fixture.values::<TimestampMicrosecondType>(
            "VALUES ('1970-01-01'::timestamp), ('1969-12-31 23:59:59.999999'), (NULL)"
        ),
        [Some(0), Some(-1), None]
    );
    let sql = "SELECT '2000-01-01 01:00:00+01'::timestamptz AS t";
    assert_eq!(
        fixture.values::<TimestampMicrosecondType>(sql),
        [Some(946_684_800_000_000)]
    );
    let schema = fixture.query(sql).unwrap().schema();
    assert_eq!(
        schema.field(0).data_type(),
        &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    );
    // Whatever the zone of the role is.
    fixture
        .server
        .sql("ALTER ROLE postgres SET TimeZone = 'Asia/Tokyo'");
    let fixture = Fixture {
        pool: super::PostgresPool::new(
            super::PostgresOptions::new(fixture.server.socket_url()),
            fixture.runtime.handle().clone(),
        )
        .unwrap(),
        ..fixture
    };
    assert_eq!(
        fixture.texts("SELECT '2000-01-01 00:00:00'::timestamptz::text"),
        some(&["2000-01-01 00:00:00+00"])
    );
}

#[test]
fn times_that_cannot_be_held_fail_with_row_and_column() {
    let fixture = Fixture::start();
    let bad = [
        ("'infinity'::timestamp", "infinite"),
        ("'-infinity'::timestamptz", "infinite"),
        ("'infinity'::date", "infinite"),
        ("'294276-12-31'::timestamp", "too far away"),
        ("'24:00'::time", "24:00:00"),
    ];
    for (value, problem) in bad {
        let sql = format!(
            "SELECT CASE WHEN n = 20000 THEN {value} END AS bad FROM generate_series(0, 20000) n"
        );
        let error = fixture.failure(&sql);
        assert_eq!(error.kind(), PostgresErrorKind::Failed);
        let text = error.to_string();
        assert!(text.starts_with("row 20000, column \"bad\": "), "{text}");
        assert!(text.contains(problem), "{text}");
    }
}

#[test]
fn a_decimal_that_is_no_number_fails_with_row_and_column() {
    let fixture = Fixture::start();
    let error =
        fixture.failure("SELECT column1::numeric(5,1) AS bad FROM (VALUES ('1'), ('NaN')) t");
    assert_eq!(
        error.to_string(),
        "row 1, column \"bad\": a decimal can be neither NaN nor infinite: cast it, as to float8"
    );
}

#[test]
fn arrays_of_one_dimension_are_lists() {
    let fixture = Fixture::start();
    let column = fixture.column("VALUES ('{1,NULL,3}'::int4[]), ('{}'), (NULL), ('[5:6]={7,8}')");
    let lists: Vec<_> = column
        .as_list::<i32>()
        .iter()
        .map(|list| list.map(|l| l.as_primitive::<Int32Type>().iter().collect::<Vec<_>>()))
        .collect();
    let expected = [
        Some(vec![Some(1), None, Some(3)]),
        Some(vec![]),
        None,
        Some(vec![Some(7), Some(8)]),
    ];
    assert_eq!(lists, expected);

    let column = fixture.column("SELECT ARRAY['a', NULL, 'ü\"']");
    let list = column.as_list::<i32>().value(0);
    assert_eq!(texts(&list), [Some("a".into()), None, Some("ü\"".into())]);

    let column = fixture.column("SELECT ARRAY[1.5, 2]::numeric(5,2)[]");
    let list = column.as_list::<i32>().value(0);
    assert_eq!(list.as_primitive::<Decimal128Type>().values(), &[150, 200]);

    let error = fixture.failure("SELECT '{{1,2},{3,4}}'::int4[] AS deep");
    assert_eq!(
        error.to_string(),
        "row 0, column \"deep\": an array of several dimensions is not supported"
    );
}

#[test]
fn enumerations_and_domains_come_as_what_they_are_made_of() {
    let fixture = Fixture::start();
    fixture.server.sql(
        "CREATE TYPE mood AS ENUM ('glum', 'fröhlich');
         CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE <= 100);
         CREATE DOMAIN names AS text[];
         CREATE TABLE t (m mood, p percent, n names, ms mood[]);
         INSERT INTO t VALUES ('fröhlich', 12.5, '{a}', '{glum}')",
    );
    assert_eq!(fixture.texts("SELECT m FROM t"), some(&["fröhlich"]));
    assert_eq!(
        fixture.values::<Decimal128Type>("SELECT p FROM t"),
        [Some(1250)]
    );
    for (sql, expected) in [("SELECT n FROM t", "a"), ("SELECT ms FROM t", "glum")] {
        let list = fixture.column(sql).as_list::<i32>().value(0);
        assert_eq!(texts(&list), some(&[expected]));
    }
}

#[test]
fn an_unsupported_type_is_refused_with_column_and_advice() {
    let fixture = Fixture::start();
    let text = refused(
        fixture.query("SELECT 1 AS good, '1 day'::interval AS span"),
        PostgresErrorKind::BadQuery,
    );
    assert_eq!(
        text,
        "the query: column \"span\" is of type interval, which is not supported: \
         cast it, as with span::text"
    );
    let text = refused(
        fixture.query("SELECT ARRAY['1 day'::interval] AS spans"),
        PostgresErrorKind::BadQuery,
    );
    assert!(text.contains("\"spans\" is of type _interval"), "{text}");
    let text = refused(
        fixture.query("SELECT 1 AS a, 2 AS a"),
        PostgresErrorKind::BadQuery,
    );
    assert!(text.contains("two columns are called \"a\""), "{text}");
}

#[test]
fn comments_of_columns_become_descriptions() {
    let fixture = Fixture::start();
    fixture.server.sql(
        "CREATE TABLE stars (id int8, ra float8);
         COMMENT ON TABLE stars IS 'not this';
         COMMENT ON COLUMN stars.ra IS 'Right ascension, \"ICRS\"'",
    );
    let rows = fixture.query("SELECT id, ra AS alpha, ra + 1 AS more FROM stars");
    let schema = rows.unwrap().schema();
    let described: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| meta::of_column(field, meta::DESCRIPTION))
        .collect();
    assert_eq!(described, [None, Some("Right ascension, \"ICRS\""), None]);
}
