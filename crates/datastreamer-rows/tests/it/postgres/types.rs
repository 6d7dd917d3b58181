//! Every supported type, value by value; what is not supported, or not held, says so.

use arrow::{
    array::AsArray,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
        Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt32Type,
    },
    record_batch::{RecordBatch, RecordBatchReader},
};
use datastreamer_rows::postgres::PostgresErrorKind;
use datastreamer_table::{
    meta,
    uuid::{self, UuidTexts},
};

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
}

#[test]
fn uuids_are_16_bytes_in_lists_too() {
    let fixture = Fixture::start();
    let text = "01234567-89ab-cdef-0123-456789abcdef";
    let sql = format!("SELECT '{text}'::uuid AS u, ARRAY['{text}'::uuid, NULL] AS l");
    let rows = fixture.query(&sql).unwrap();
    assert!(uuid::is_uuid(rows.schema().field(0)));
    let mut rows = UuidTexts::new(rows).ok().unwrap();
    let batch = rows.next().unwrap().unwrap();
    assert_eq!(texts(batch.column(0)), some(&[text]));
    let list = batch.column(1).as_list::<i32>().value(0);
    assert_eq!(texts(&list), [Some(text.to_owned()), None]);
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
        assert!(text.starts_with("row 20001, column \"bad\": "), "{text}");
        assert!(text.contains(problem), "{text}");
        // The advice helps.
        let as_text = fixture.texts(&format!("SELECT ({value})::text"));
        assert!(as_text[0].is_some());
    }
}

#[test]
fn a_decimal_that_is_no_number_fails_with_row_and_column() {
    let fixture = Fixture::start();
    let error =
        fixture.failure("SELECT column1::numeric(5,1) AS bad FROM (VALUES ('1'), ('NaN')) t");
    assert_eq!(
        error.to_string(),
        "row 2, column \"bad\": a decimal can be neither NaN nor infinite: cast it, as to text \
         or float8"
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
        "row 1, column \"deep\": an array of several dimensions is no list: cast it to text in the \
         query, or declare them in the table, as int4[][]"
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

/// Values of types that have no twin in Arrow.
const WITHOUT_TWIN: &[(&str, &[&str])] = &[
    (
        "interval",
        &[
            "'1 day'",
            "'-1 mon +2 days -03:04:05.000006'",
            "'0'",
            "'178000000 years'",
        ],
    ),
    ("citext", &["'MiXed ä'", "''"]),
    (
        "inet",
        &[
            "'192.168.0.1'",
            "'192.168.0.1/24'",
            "'::ffff:1.2.3.4'",
            "'2001:db8::/32'",
        ],
    ),
    ("cidr", &["'10.0.0.0/8'", "'2001:db8::/32'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ("int4range", &["'[1,5)'", "'empty'", "'(,)'", "'[3,]'"]),
    ("numrange", &["'[1.50,2.25]'"]),
    ("tsrange", &["'[2020-01-01 00:00,infinity)'"]),
    (
        "tstzrange",
        &["'[2020-01-01 00:00+05,2021-01-01 00:00-05]'"],
    ),
    ("daterange", &["'[2020-01-01,2020-02-01]'"]),
    ("int8multirange", &["'{[1,3),[5,9)}'", "'{}'"]),
    ("timetz", &["'13:14:15.000001+05:30'", "'24:00:00-15:59'"]),
    ("money", &["12.34", "'-92233720368547758.08'"]),
    ("point", &["'(1.5,-2)'", "'(NaN,Infinity)'"]),
    ("line", &["'{1,2,3}'"]),
    ("lseg", &["'[(0,0),(1,1e-300)]'"]),
    ("box", &["'(2,2),(0,0)'"]),
    ("path", &["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"]),
    ("polygon", &["'((0,0),(1,1),(2,0))'"]),
    ("circle", &["'<(1,2),3>'"]),
    (
        "xml",
        &[
            "'<a b=\"1\">ä</a>'",
            "'<?xml version=\"1.0\" encoding=\"latin1\"?><a/>'",
        ],
    ),
    ("bit(5)", &["B'10101'"]),
    ("varbit", &["B''", "B'1010101010101'"]),
    ("tsvector", &["'a:1A fat:2B,4C'"]),
    ("tsquery", &["'fat & (rat | !cat:*)'"]),
    ("hstore", &["'a=>1, \"b c\"=>NULL'", "''"]),
    ("jsonpath", &["'$.a[*] ? (@ > 1)'"]),
    ("regclass", &["'pg_class'", "0"]),
    ("regtype", &["'int4'"]),
    ("regproc", &["'version'"]),
    ("pg_lsn", &["'16/B374D848'"]),
    ("xid", &["'4294967295'"]),
    ("xid8", &["'18446744073709551615'"]),
    ("cid", &["'7'"]),
    ("tid", &["'(42,7)'"]),
    ("pg_snapshot", &["'10:20:10,14,15'"]),
    ("\"char\"", &["'x'", "''", "'1'"]),
    (
        "pair",
        &["ROW(1, 'a \"b\", c')", "ROW(NULL, NULL)", "ROW(2, '')"],
    ),
    ("shape", &["'[0,10]'"]),
    ("label", &["'x y'"]),
    ("interval[]", &["ARRAY['1 day'::interval, NULL]", "'{}'"]),
    ("citext[]", &["'{A,\"b c\",NULL}'"]),
    ("pair[]", &["ARRAY[ROW(1, 'a,b')::pair]"]),
    ("int4range[]", &["ARRAY['[1,5)'::int4range]"]),
    ("point[]", &["ARRAY[point(1, 2)]"]),
    ("\"char\"[]", &["'{a,b}'"]),
];

/// Types of the tests' own.
const OWN_TYPES: &str = "CREATE EXTENSION citext; CREATE EXTENSION hstore;
    CREATE TYPE pair AS (n int4, t text);
    CREATE TYPE shape AS RANGE (subtype = float8);
    CREATE DOMAIN label AS citext CHECK (VALUE <> '');";

#[test]
fn types_without_a_twin_in_arrow_are_the_text_that_the_server_writes() {
    let fixture = Fixture::start();
    fixture.server.sql(OWN_TYPES);
    for (kind, values) in WITHOUT_TWIN {
        let rows: Vec<_> = values
            .iter()
            .map(|value| format!("({value}::{kind})"))
            .collect();
        let rows = format!("VALUES {}, (NULL)", rows.join(", "));
        let expected = fixture.texts(&format!("SELECT column1::text FROM ({rows}) t"));
        assert_eq!(expected.len(), values.len() + 1, "{kind}");
        assert_eq!(expected.last(), Some(&None), "{kind}");
        // Between others, and with a comment behind a semicolon at the end.
        let sql = format!(
            "SELECT 1 AS before, column1 AS \"Va\"\"lue\", 'x' AS behind FROM ({rows}) t; -- end"
        );
        let batches = fixture.batches(&sql);
        let schema = batches[0].schema();
        let fields = schema.fields().iter();
        let names: Vec<_> = fields.map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["before", "Va\"lue", "behind"], "{kind}");
        assert_eq!(schema.field(0).data_type(), &DataType::Int32);
        assert_eq!(texts(batches[0].column(1)), expected, "{kind}");
    }
}

#[test]
fn a_column_without_values_or_with_a_name_of_another_is_refused() {
    let fixture = Fixture::start();
    let text = refused(
        fixture.query("SELECT pg_sleep(0) AS nothing"),
        PostgresErrorKind::BadQuery,
    );
    assert_eq!(
        text,
        "the query: column \"nothing\" is of type void, which has no values to send"
    );
    let text = refused(
        fixture.query("SELECT 1 AS a, 2 AS a"),
        PostgresErrorKind::BadQuery,
    );
    assert!(text.contains("two columns are called \"a\""), "{text}");
}

#[test]
fn records_and_all_columns_of_the_catalogue_come() {
    let fixture = Fixture::start();
    fixture
        .server
        .sql("ALTER ROLE postgres SET extra_float_digits = 0");
    let digits = fixture.texts("SELECT point(0.1::float8 + 0.2::float8, 0)");
    assert_eq!(digits, some(&["(0.30000000000000004,0)"]));
    let records = "SELECT ROW(1, 'a b', NULL) AS r";
    assert_eq!(fixture.texts(records), some(&["(1,\"a b\",)"]));
    fixture
        .server
        .sql("CREATE TABLE t AS SELECT n % 3 AS n FROM generate_series(1, 300) n; ANALYZE t");
    let of = |what: &str| {
        fixture.texts(&format!(
            "SELECT {what} FROM pg_stats WHERE tablename = 't'"
        ))
    };
    assert_eq!(of("most_common_vals"), of("most_common_vals::text"));
    assert!(of("most_common_vals")[0].is_some());
    let tables = fixture.texts(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' \
         AND relnamespace = 'pg_catalog'::regnamespace ORDER BY 1",
    );
    assert!(tables.len() > 50, "{}", tables.len());
    for table in tables.iter().flatten() {
        let rows = fixture.query(&format!("SELECT * FROM {table}"));
        let rows = rows.unwrap_or_else(|error| panic!("{table}: {error}"));
        rows.for_each(|batch| drop(batch.unwrap()));
    }
}

#[test]
fn casts_to_text_change_neither_the_rows_nor_their_order() {
    let fixture = Fixture::start();
    fixture.server.sql(
        "CREATE TABLE t AS SELECT n, (n || ' min')::interval AS span FROM generate_series(1, 30000) n",
    );
    let all = |sql: &str| -> Vec<(i32, Option<String>)> {
        let rows = |batch: RecordBatch| {
            let numbers = batch.column(0).as_primitive::<Int32Type>();
            let numbers = numbers.values().to_vec();
            numbers.into_iter().zip(texts(batch.column(1)))
        };
        fixture.batches(sql).into_iter().flat_map(rows).collect()
    };
    for sql in [
        "SELECT n, span FROM t ORDER BY n % 7, n DESC",
        "WITH w AS (SELECT * FROM t) SELECT n, span FROM w ORDER BY n DESC LIMIT 500 OFFSET 3",
        "SELECT n, span FROM t WHERE n < 9 UNION ALL SELECT n, span FROM t WHERE n > 29990 ORDER BY 1",
        "SELECT DISTINCT ON (n % 5) n, span FROM t ORDER BY n % 5, n",
        "TABLE t",
    ] {
        // What the server writes of the query as it is.
        let own = fixture.server.sql(&format!("COPY ({sql}) TO STDOUT"));
        let come = all(sql).into_iter();
        let come: Vec<_> = come
            .map(|(n, span)| format!("{n}\t{}", span.unwrap()))
            .collect();
        assert!(come.iter().eq(own.lines()), "{sql}");
    }
}

#[test]
fn columns_that_are_declared_with_several_dimensions_come_as_text() {
    let fixture = Fixture::start();
    fixture.server.sql(
        "CREATE TABLE t (flat int4[], deep int4[][]);
         INSERT INTO t VALUES ('{1,2}', '{{1,2},{3,4}}'), ('{}', NULL),
             (NULL, '[2:2][0:1]={{5,NULL}}')",
    );
    let batches = fixture.batches("SELECT flat, deep FROM t");
    assert!(matches!(
        batches[0].column(0).data_type(),
        DataType::List(_)
    ));
    let expected = fixture.texts("SELECT deep::text FROM t");
    assert_eq!(texts(batches[0].column(1)), expected);
    assert_eq!(expected[2].as_deref(), Some("[2:2][0:1]={{5,NULL}}"));
}

#[test]
fn an_error_of_a_query_with_casts_has_its_place_in_the_query() {
    let fixture = Fixture::start();
    let sql = "SELECT '1 day'::interval AS a,\n  nothing";
    let text = refused(fixture.query(sql), PostgresErrorKind::BadQuery);
    assert!(text.contains("line 2, column 3"), "{text}");
    let error = fixture
        .failure("SELECT '1 day'::interval AS a, 1 / (n - 2) AS b FROM generate_series(1, 3) n");
    assert!(error.to_string().contains("division by zero"), "{error}");
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
