//! Wrong queries of all kinds: what a client is told, in words of SQL, and where in the text.

use arrow::error::ArrowError;
use datastreamer_engine::{Engine, EngineError, EngineOptions, Query, TableFiles};
use datastreamer_table::column_metadata::ColumnMetadata;

use crate::support::{block_on, stars, write_parquet};

/// Words that only the authors of libraries know.
const OF_LIBRARIES: [&str; 21] = [
    "Arrow",
    "DataFusion",
    "Error:",
    "Expr",
    "Float64",
    "Int32",
    "Int64",
    "Internal",
    "None",
    "NullAry",
    "ParserError",
    "Plan(",
    "SchemaError",
    "Some(",
    "Utf8",
    "bug",
    "coerce",
    "datafusion",
    " error: ",
    "not implemented",
    "EOF",
];

/// A query, the line and column where it is wrong, if they are known, and the text.
type Wrong = (&'static str, Option<(u64, u64)>, &'static str);

#[rustfmt::skip]
const WRONG: &[Wrong] = &[
    (r#"SELECT id /* open"#, Some((1, 18)), "a comment (/*) is not closed"),
    (r#"SELECT id FROM stars LIMIT (SELECT 1)"#, None, "LIMIT has a number"),
    (r#"SELECT lcm(9223372036854775807, 2)"#, None, "the result is out of range: LCM(9223372036854775807, 2)"),
    (r#"SELECT 'a' ~ 1"#, None, "not possible with these types: text ~ 64-bit integer"),
    (r#"SELECT * FROM stars UNPIVOT (v FOR n IN (id, RA))"#, None, "not supported: UNPIVOT"),
    (r#"WITH t AS (INSERT INTO stars VALUES (1)) SELECT 1"#, None, "not supported: INSERT INTO stars VALUES (1)"),
    (r#"SELECT * FROM stars WHERE id = ALL (SELECT name FROM stars)"#, None, "not possible with these types, ANY or ALL: 64-bit integer can't cast to text"),
    (r#"SELEC * FROM stars"#, Some((1, 1)), r#"Expected: an SQL statement, found: SELEC"#),
    (r#"SELECT * FORM stars"#, Some((1, 10)), r#"Expected: end of statement, found: FORM"#),
    (r#"SELECT * FROM stars WHERE"#, Some((1, 26)), r#"Expected: an expression, found: the end of the query"#),
    (r#"SELECT (1 + 2"#, Some((1, 14)), r#"Expected: ), found: the end of the query"#),
    (r#"SELECT 'abc"#, Some((1, 8)), r#"Unterminated string literal"#),
    (r#"SELECT "abc"#, Some((1, 8)), r#"a name is not closed by ""#),
    (r#"SELECT 1,, 2"#, Some((1, 10)), r#"Expected: an expression, found: ,"#),
    (r#"SELECT * FROM stars LIMIT -1"#, None, r#"LIMIT must be >= 0, '-1' was provided"#),
    (r#"SELECT * FROM stars LIMIT 'a'"#, None, r#"Expected LIMIT to be an integer or null, but got text"#),
    (r#"SELECT * FROM stars OFFSET -1"#, None, r#"OFFSET must be >=0, '-1' was provided"#),
    (r#"SELECT 1; SELECT 2"#, Some((1, 19)), r#"only one SELECT is allowed here"#),
    (r#"SELECT nocol FROM stars"#, Some((1, 8)), r#"there is no column "nocol"; there are RA, id, name"#),
    (r#"SELECT stars.nocol FROM stars"#, Some((1, 8)), r#"the table "stars" has no column "nocol"; there are RA, id, name"#),
    (r#"SELECT s.id FROM stars"#, Some((1, 8)), r#"the query reads no table "s""#),
    (r#"SELECT s.* FROM stars"#, None, r#"the query reads no table "s""#),
    (r#"SELECT * FROM nowhere"#, Some((1, 15)), r#"there is no table "nowhere""#),
    (r#"SELECT * FROM a.b.c.d"#, None, r#"there is no table "a.b.c.d""#),
    (r#"SELECT * FROM read_csv('/etc/passwd')"#, None, r#"there is no table function "read_csv""#),
    (r#"SELECT nofunc(1)"#, Some((1, 8)), r#"there is no function nofunc"#),
    (r#"SELECT siin(1)"#, Some((1, 8)), r#"there is no function siin; did you mean sin?"#),
    (r#"SELECT row_number() FROM stars"#, Some((1, 8)), r#"the function row_number needs a window: row_number(...) OVER (...)"#),
    (r#"SELECT sin('a')"#, None, "No function matches the given name and argument types 'sin(text)'. You might need to add explicit type casts.\n\tCandidate functions:\n\tsin(64-bit float/32-bit float)"),
    (r#"SELECT lower(1, 2)"#, None, "No function matches the given name and argument types 'lower(64-bit integer, 64-bit integer)'. You might need to add explicit type casts.\n\tCandidate functions:\n\tlower(text)"),
    (r#"SELECT rank(1,2,3) OVER () FROM stars"#, None, r#"No function matches the given name and argument types 'rank(64-bit integer, 64-bit integer, 64-bit integer)'. You might need to add explicit type casts."#),
    (r#"SELECT string_agg(name) FROM stars"#, None, "No function matches the given name and argument types 'string_agg(text)'. You might need to add explicit type casts.\n\tCandidate functions:\n\tstring_agg(text, text)\n\tstring_agg(text, null)"),
    (r#"SELECT substr(1)"#, None, r#"a substring needs FROM or FOR"#),
    (r#"SELECT id + name FROM stars"#, Some((1, 8)), r#"not possible with these types: 64-bit integer + text"#),
    (r#"SELECT true + 1"#, None, r#"not possible with these types: boolean + 64-bit integer"#),
    (r#"SELECT DATE '2020-01-01' * 2"#, None, r#"not possible with these types: date * 64-bit integer"#),
    (r#"SELECT true > 'x'"#, None, r#"not possible with these types: boolean > text"#),
    (r#"SELECT 1 AND 2"#, None, r#"not possible with these types: 64-bit integer AND 64-bit integer"#),
    (r#"SELECT id FROM stars WHERE name"#, None, r#"a condition must be true or false, which `stars.name` is not"#),
    (r#"SELECT id FROM stars WHERE id LIKE 'x'"#, None, r#"LIKE is for texts, not for 64-bit integer and text"#),
    (r#"SELECT ~ 'a'"#, None, r#"not supported: this operator before a value"#),
    (r#"SELECT name OVERLAPS name FROM stars"#, None, r#"not supported: this operator between values"#),
    (r#"SELECT id / 0 FROM stars"#, None, r#"division by zero"#),
    (r#"SELECT id % 0 FROM stars"#, None, r#"division by zero"#),
    (r#"SELECT 9223372036854775807 + 1"#, None, r#"the result is out of range: 9223372036854775807 + 1"#),
    (r#"SELECT factorial(100)"#, None, r#"the result is out of range: FACTORIAL(100)"#),
    (r#"SELECT CAST('x' AS INT)"#, None, r#"Cannot cast string 'x' to value of 32-bit integer type"#),
    (r#"SELECT CAST(name AS DATE) FROM stars"#, None, r#"Cannot cast string 'star 1' to value of date type"#),
    (r#"SELECT CAST(300 AS TINYINT)"#, None, r#"Can't cast value 300 to type 8-bit integer"#),
    (r#"SELECT CAST(1e300 AS REAL)"#, None, r#"the result is out of range: 1e300 as a float"#),
    (r#"SELECT CAST(123456 AS DECIMAL(3,1))"#, None, r#"123456.0 is too large to store in a decimal of precision 3. Max is 99.9"#),
    (r#"SELECT CAST(1 AS nosuchtype)"#, None, r#"there is no type nosuchtype"#),
    (r#"SELECT id::JSON FROM stars"#, None, r#"there is no type JSON"#),
    (r#"SELECT DATE '2020-02-30'"#, None, r#"Cannot cast string '2020-02-30' to value of date type"#),
    (r#"SELECT TIMESTAMP '2020-02-30 25:00:00'"#, None, r#"Error parsing timestamp from '2020-02-30 25:00:00': error parsing date"#),
    (r#"SELECT TIME '25:00:00'"#, None, r#"Cannot cast string '25:00:00' to value of time of day in nanoseconds type"#),
    (r#"SELECT INTERVAL '1 foo'"#, None, r#"Invalid input syntax for type interval: "1 foo""#),
    (r#"SELECT arrow_cast('9999-01-01', 'Timestamp(ns)')"#, None, r#"a time in a query lies between the years 1677 and 2262"#),
    (r#"SELECT DATE '2020-01-01' + INTERVAL '9999999 years'"#, None, r#"the result is out of range: a time and an interval"#),
    (r#"SELECT to_char(now(), '%Q')"#, None, r#"the format of a time is wrong"#),
    (r#"SELECT to_date('x')"#, None, r#"the text is no date, or one that is too far from 1970"#),
    (r#"SELECT date_trunc('foo', now())"#, None, r#"Unsupported date_trunc granularity: 'foo'. Supported values are: microsecond, millisecond, second, minute, hour, day, week, month, quarter, year"#),
    (r#"SELECT extract(foo FROM now())"#, None, r#"Date part 'foo' not supported"#),
    (r#"SELECT now() AT TIME ZONE 'Nowhere/City'"#, None, r#"there is no time zone `Nowhere/City`; there is for example `Europe/Berlin`"#),
    (r#"SELECT id FROM stars a JOIN stars b ON a.id = b.id"#, Some((1, 8)), r#"several tables have a column "id": write the name of the table before it"#),
    (r#"SELECT * FROM stars a, stars a"#, None, r#"two columns are called "id": rename one with AS"#),
    (r#"SELECT * FROM stars a LEFT JOIN stars b"#, None, r#"join condition should not be empty"#),
    (r#"SELECT * FROM stars a SEMI JOIN stars b"#, None, r#"not supported: a JOIN of this kind"#),
    (r#"SELECT * FROM stars s(a)"#, None, r#"the names in parentheses behind a table are not as many as its columns, of which there are 3"#),
    (r#"SELECT id, id FROM stars"#, None, r#"two columns of a SELECT have the same name: rename one with AS"#),
    (r#"SELECT count(id), name FROM stars"#, Some((1, 19)), r#"the column "stars.name" must be in GROUP BY or within an aggregate function"#),
    (r#"SELECT sum(count(id)) FROM stars"#, Some((1, 18)), r#"aggregate functions cannot be nested: 'count(stars.id)' is nested inside 'sum(count(stars.id))'"#),
    (r#"SELECT id FROM stars WHERE count(id) > 1"#, None, r#"Aggregate functions are not allowed in the WHERE clause. Consider using HAVING instead"#),
    (r#"SELECT id FROM stars HAVING id > 1"#, None, r#"a column of HAVING (stars.id > 1) must be in GROUP BY or within an aggregate function"#),
    (r#"SELECT max(*) FROM stars"#, None, r#"not supported: * as an argument of this function"#),
    (r#"SELECT sum(id) OVER w FROM stars"#, None, r#"there is no window "w""#),
    (r#"SELECT id FROM stars WHERE row_number() OVER () > 1"#, None, r#"not supported: a window function at this place"#),
    (r#"SELECT ntile(0) OVER (ORDER BY id) FROM stars"#, None, r#"NTILE requires a positive integer"#),
    (r#"SELECT sum(id) OVER (ROWS BETWEEN 1 FOLLOWING AND 1 PRECEDING) FROM stars"#, None, r#"Invalid window frame: start bound (1 FOLLOWING) cannot be larger than end bound (1 PRECEDING)"#),
    (r#"SELECT (SELECT id FROM stars)"#, None, r#"Scalar subquery returned more than one row"#),
    (r#"SELECT id FROM stars WHERE id IN (SELECT id, name FROM stars)"#, Some((1, 42)), r#"a subquery at this place has one column only, not stars.id, stars.name"#),
    (r#"SELECT (SELECT max(b.id) FROM stars b WHERE b.id < a.id) FROM stars a"#, None, r#"not supported: a subquery at this place that refers to the outer query"#),
    (r#"SELECT EXISTS (SELECT 1)"#, None, r#"not supported: EXISTS, NOT IN, ANY or ALL of this subquery, or at this place"#),
    (r#"SELECT id FROM stars ORDER BY nocol"#, None, r#"there is no column "nocol"; there are RA, id, name"#),
    (r#"SELECT id FROM stars ORDER BY 5"#, None, r#"Order by column out of bounds, specified: 5, max: 1"#),
    (r#"SELECT id FROM stars WHERE name ~ '('"#, None, r#"the regular expression is wrong: unclosed group"#),
    (r#"SELECT id FROM stars UNION SELECT id, name FROM stars"#, Some((1, 1)), r#"UNION queries have different number of columns"#),
    (r#"VALUES (1, 2), (3)"#, None, r#"Inconsistent data length across values list: got 1 values in row 1 but expected 2"#),
    (r#"INSERT INTO stars VALUES (1)"#, None, r#"only one SELECT is allowed here"#),
    (r#"SELECT 1 & 1.5"#, None, r#"the operators &, |, ^, << and >> are for integers: CAST(VALUE AS BIGINT) makes one"#),
    (r#"SELECT id | 0.5 FROM stars"#, None, r#"the operators &, |, ^, << and >> are for integers: CAST(VALUE AS BIGINT) makes one"#),
    (r#"SELECT RA ^ 1 FROM stars"#, None, r#"the operators &, |, ^, << and >> are for integers: CAST(VALUE AS BIGINT) makes one"#),
    (r#"SELECT 8 >> 1.9"#, None, r#"the operators &, |, ^, << and >> are for integers: CAST(VALUE AS BIGINT) makes one"#),
    (r#"SELECT CAST(1.5 AS DECIMAL(3, 1)) << 1"#, None, r#"the operators &, |, ^, << and >> are for integers: CAST(VALUE AS BIGINT) makes one"#),
    (r#"SELECT X'0'"#, None, r#"a binary value of an odd number of digits is not supported"#),
    (r#"SELECT nth_value(id, 0) OVER () FROM stars"#, None, r#"row 0 (of nth_value) is not supported"#),
    (r#"SELECT id IS DISTINCT FROM 1 IS NULL FROM stars"#, None, r#"IS DISTINCT FROM before another IS without parentheses around one of them is not supported"#),
    (r#"SELECT 4 | 1 << 1"#, None, r#"a bit operator beside another one without parentheses is not supported"#),
    (r#"SELECT sum(id) OVER (w) FROM stars WINDOW w AS (ORDER BY id ROWS 1 PRECEDING)"#, None, r#"a window that is built on a named one (write out the whole window) is not supported"#),
    (r#"SELECT sum(id) OVER v FROM stars WINDOW w AS (ORDER BY name), v AS (w ORDER BY id)"#, None, r#"a window that is built on a named one (write out the whole window) is not supported"#),
    (r#"SELECT lag(id, NULL) OVER (ORDER BY id) FROM stars"#, None, r#"a distance of NULL (of lag and lead) is not supported"#),
    (r#"SELECT lead(id, 2) IGNORE NULLS OVER (ORDER BY id) FROM stars"#, None, r#"lead over more than one row with IGNORE NULLS is not supported"#),
    (r#"SELECT lead(id, 2 IGNORE NULLS) OVER (ORDER BY id) FROM stars"#, None, r#"lead over more than one row with IGNORE NULLS is not supported"#),
    (r#"SELECT regexp_replace('cost: X', 'X', '$5')"#, None, r#"`$` in the replacement of regexp_replace is not supported"#),
    (r#"SELECT count(DISTINCT *) FROM stars"#, None, r#"DISTINCT with * as an argument is not supported"#),
    (r#"SELECT count(DISTINCT stars.*) FROM stars"#, None, r#"DISTINCT with * as an argument is not supported"#),
    (r#"SELECT * ILIKE 'r%' FROM stars"#, None, r#"* ILIKE is not supported"#),
    (r#"SELECT id FROM stars a RIGHT JOIN stars b USING (id)"#, None, r#"a RIGHT or FULL JOIN with USING or NATURAL, in the place of ON, is not supported"#),
    (r#"SELECT id FROM stars a FULL JOIN stars b USING (id)"#, None, r#"a RIGHT or FULL JOIN with USING or NATURAL, in the place of ON, is not supported"#),
    (r#"SELECT id FROM stars a NATURAL FULL JOIN stars b"#, None, r#"a RIGHT or FULL JOIN with USING or NATURAL, in the place of ON, is not supported"#),
    (r#"SELECT 1 FROM (stars a NATURAL RIGHT JOIN stars b)"#, None, r#"a RIGHT or FULL JOIN with USING or NATURAL, in the place of ON, is not supported"#),
    (r#"SELECT * REPLACE (1 AS nosuch) FROM stars"#, None, r#"* REPLACE is not supported"#),
    (r#"SELECT stars.* REPLACE (1 AS id) FROM stars"#, None, r#"* REPLACE is not supported"#),
    (r#"SELECT 1_000"#, None, r#"1_000 is no number"#),
    (r#"SELECT id FROM stars WHERE id < 1e"#, None, r#"1e is no number"#),
    (r#"SELECT 1.5x"#, None, r#"1.5x is no number"#),
    (r#"SELECT sum(*) FROM stars"#, None, r#"sum is for numbers and lengths of time"#),
    (r#"SELECT a.b.c.d.e FROM stars"#, None, r#"a column is named by itself, or behind its table and a dot"#),
    (r#"SELECT X'zz'"#, None, r#"a binary value has hexadecimal digits, which these are not: zz"#),
    (r#"SELECT * FROM stars TABLESAMPLE (10)"#, None, r#"TABLESAMPLE is not supported"#),
    (r#"SELECT * FROM stars PIVOT (sum(id) FOR name IN ('a'))"#, None, r#"not supported: PIVOT"#),
    (r#"SELECT 'a' COLLATE "de""#, None, r#"not supported: COLLATE"#),
    (r#"SELECT CONVERT(id, CHAR) FROM stars"#, None, r#"not supported: CONVERT"#),
    (r#"SELECT struct(1).x"#, None, r#"not supported: a dot behind an expression of this kind"#),
    (r#"SELECT id.x FROM stars"#, None, r#"a value of type 64-bit integer has no fields"#),
    (r#"SELECT $1"#, None, r#"there is no value for the parameter $1"#),
    (r#"SELECT @x"#, None, r#"not supported: a variable (@x)"#),
    (r#"SELECT map(['a','a'],[1,2])"#, None, r#"map key must be unique, duplicate key found: a"#),
    (r#"SELECT unnest(1)"#, None, r#"unnest() can only be applied to array, struct and null"#),
];

/// The first error of a query, while it is planned or read.
fn error_of(engine: &Engine, sql: &str) -> Option<EngineError> {
    let rows = match block_on(engine.query(&Query::new(sql), None)) {
        Ok(rows) => rows,
        Err(error) => return Some(error),
    };
    rows.into_iter().find_map(|batch| match batch {
        Err(ArrowError::ExternalError(cause)) => cause.downcast().ok().map(|error| *error),
        _ => None,
    })
}

#[test]
fn wrong_queries_are_told_without_words_of_libraries_and_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stars.parquet");
    write_parquet(&file, &stars(0, 100));
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let files = TableFiles::find(&file).unwrap();
    block_on(engine.register("stars", files, &ColumnMetadata::default())).unwrap();
    let mut others = String::new();
    for (sql, place, text) in WRONG {
        let error = error_of(&engine, sql).unwrap_or_else(|| panic!("{sql} is not refused"));
        let found = error.text_for_clients();
        let word = OF_LIBRARIES.iter().find(|word| found.contains(**word));
        assert_eq!(word, None, "{sql}: {found}");
        let at = error.position().map(|place| (place.line, place.column));
        if (at, found.as_str()) != (*place, *text) {
            others.push_str(&format!("    (r#\"{sql}\"#, {at:?}, r#\"{found}\"#),\n"));
        }
    }
    assert!(others.is_empty(), "\n{others}");
}
