//! Parameters: what declarations refuse, how texts become values, where names stand in a query.

use datastreamer_rows::parameters::{
    Parameter, ParameterError, ParameterKind, Parameters, PositionalQuery, TextPosition, Value,
    check_names, placeholders,
};
use proptest::prelude::*;

fn one(kind: ParameterKind) -> Parameters {
    Parameters::new(vec![Parameter::new("p", kind)]).unwrap()
}

fn read(kind: ParameterKind, text: &str) -> Result<Value, ParameterError> {
    let bound = one(kind).bind([("p", text)])?;
    Ok(bound.get("p").unwrap().clone())
}

fn ranged(kind: ParameterKind, minimum: Value, maximum: Value) -> Parameter {
    Parameter {
        minimum: Some(minimum),
        maximum: Some(maximum),
        ..Parameter::new("p", kind)
    }
}

#[test]
fn texts_are_read_strictly() {
    use ParameterKind::{Bool, Date, Float, Integer, Text, Timestamp};
    let good = [
        (Bool, "true", Value::Bool(true)),
        (Bool, "0", Value::Bool(false)),
        (Integer, "-9223372036854775808", Value::Integer(i64::MIN)),
        (Float, "1e-300", Value::Float(1e-300)),
        (Text, " 'x\n", Value::Text(" 'x\n".to_owned())),
        (Date, "1970-01-02", Value::Date(1)),
        (Date, "0001-01-01", Value::Date(-719_162)),
        (Date, "2024-02-29", Value::Date(19_782)),
        (Timestamp, "1970-01-02", Value::Timestamp(86_400_000_000)),
        (
            Timestamp,
            "1970-01-01T00:00:01Z",
            Value::Timestamp(1_000_000),
        ),
        (
            Timestamp,
            "1969-12-31T23:59:59.9",
            Value::Timestamp(-100_000),
        ),
        (Timestamp, "1970-01-01T00:00:00.000001", Value::Timestamp(1)),
    ];
    for (kind, text, value) in good {
        assert_eq!(read(kind, text), Ok(value), "{text}");
    }
    let bad = [
        (Bool, "TRUE"),
        (Integer, "9223372036854775808"),
        (Integer, "1.0"),
        (Integer, " 1"),
        (Float, "NaN"),
        (Float, "1e400"),
        (Float, ""),
        (Date, "2023-02-29"),
        (Date, "2023-2-9"),
        (Date, "0000-01-01"),
        (Date, "2023-01-01 "),
        (Date, "+023-01-01"),
        (Timestamp, "2023-01-01 00:00:00"),
        (Timestamp, "2023-01-01T24:00:00"),
        (Timestamp, "2023-01-01T00:00:60"),
        (Timestamp, "2023-01-01T00:00:00."),
        (Timestamp, "2023-01-01T00:00:00.1234567"),
        (Timestamp, "2023-01-01T00:00:00+1:00"),
        (Timestamp, "2023-01-01T00:00:00+16:00"),
        (Timestamp, "2023-01-01T00:00:00+01:60"),
        (Timestamp, "2023-01-01T00:00:00+01:00Z"),
        (Timestamp, "2023-01-01T00:00:00Z+01:00"),
        (Timestamp, "2023-01-01T00:00:00+é1"),
        (Timestamp, "2023-01-01+01:00"),
        (Timestamp, "0001-01-01T00:00:00+00:01"),
        (Timestamp, "9999-12-31T23:59:59-00:01"),
        (Timestamp, "2023-01-01T00:00"),
    ];
    for (kind, text) in bad {
        let error = read(kind, text).unwrap_err();
        assert!(error.is_of_giver());
        assert!(
            error.to_string().contains(&format!("not {text:?}")),
            "{error}"
        );
    }
}

#[test]
fn a_time_with_an_offset_is_the_same_instant_in_utc() {
    for (text, utc) in [
        ("2023-01-01T00:00:00+01:00", "2022-12-31T23:00:00"),
        (
            "2023-01-01T00:00:00.000001-0530",
            "2023-01-01T05:30:00.000001",
        ),
        ("2023-01-01T00:00:00+00", "2023-01-01T00:00:00"),
        ("2023-01-01T00:00:00-15:59", "2023-01-01T15:59:00"),
        ("0001-01-01T00:01:00+00:01", "0001-01-01T00:00:00"),
    ] {
        let value = read(ParameterKind::Timestamp, text).unwrap();
        assert_eq!(value.to_string(), utc, "{text}");
    }
    let error = read(ParameterKind::Timestamp, "2023-01-01T00:00:00 01:00").unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with(": write + as %2B in a URL"), "{text}");
}

#[test]
fn errors_say_what_was_expected_and_repeat_little_of_what_came() {
    let error = read(ParameterKind::Date, &"9\u{1}".repeat(500)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("parameter p: a date like 2026-11-25 is expected, not \"9\\u{1}9"));
    assert!(text.len() < 250, "{text}");
    let mut short = Parameter::new("p", ParameterKind::Text);
    short.max_characters = Some(3);
    let parameters = Parameters::new(vec![short]).unwrap();
    assert!(parameters.bind([("p", "äöü")]).is_ok());
    let error = parameters.bind([("p", "äöüß")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "parameter p: at most 3 characters are allowed, and 4 were given"
    );
}

#[test]
fn a_value_out_of_range_is_refused_with_the_range() {
    let (least, most) = (Value::Date(0), Value::Date(10));
    let parameter = ranged(ParameterKind::Date, least, most);
    let parameters = Parameters::new(vec![parameter]).unwrap();
    assert!(parameters.bind([("p", "1970-01-11")]).is_ok());
    let error = parameters.bind([("p", "1970-01-12")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "parameter p: 1970-01-12 is out of range: 1970-01-01 to 1970-01-11"
    );
}

#[test]
fn unknown_doubled_and_missing_are_refused_by_name() {
    let mut with_default = Parameter::new("b", ParameterKind::Integer);
    with_default.default = Some(Value::Integer(7));
    let declared = vec![Parameter::new("a", ParameterKind::Text), with_default];
    let parameters = Parameters::new(declared).unwrap();
    let text = |given: &[(&str, &str)]| {
        let bound = parameters.bind(given.iter().copied());
        bound.unwrap_err().to_string()
    };
    assert_eq!(
        text(&[("c", "1")]),
        "there is no parameter \"c\": there are a, b"
    );
    assert_eq!(
        text(&[("a", "1"), ("a", "1")]),
        "parameter a: it was given twice"
    );
    assert_eq!(
        text(&[("b", "1")]),
        "parameter a: it must be given, as text"
    );
    let bound = parameters.bind([("a", "x")]).unwrap();
    let values: Vec<_> = bound.iter().collect();
    let expected = [
        ("a", &Value::Text("x".to_owned())),
        ("b", &Value::Integer(7)),
    ];
    assert_eq!(values, expected);
}

#[test]
fn declarations_that_contradict_themselves_are_refused() {
    use ParameterKind::{Float, Integer, Text};
    let with_default = |default| Parameter {
        default: Some(default),
        ..ranged(Integer, Value::Integer(1), Value::Integer(5))
    };
    let bad = [
        (Parameter::new("1a", Text), "a name is"),
        (Parameter::new("", Text), "a name is"),
        (Parameter::new("ä", Text), "a name is"),
        (with_default(Value::Integer(6)), "out of range: 1 to 5"),
        (
            with_default(Value::Float(3.0)),
            "its default is of kind number, not integer",
        ),
        (
            ranged(Integer, Value::Integer(2), Value::Integer(1)),
            "its range is empty: 2 to 1",
        ),
        (
            ranged(Float, Value::Float(f64::NAN), Value::Float(1.0)),
            "its minimum is not a finite number",
        ),
        (
            ranged(Text, Value::Text("a".into()), Value::Text("b".into())),
            "the kind text has no range",
        ),
    ];
    for (parameter, problem) in bad {
        let error = Parameters::new(vec![parameter]).unwrap_err();
        assert!(!error.is_of_giver());
        assert!(error.to_string().contains(problem), "{error}");
    }
    let twice = vec![Parameter::new("a", Text), Parameter::new("a", Integer)];
    let error = Parameters::new(twice).unwrap_err();
    assert!(error.to_string().contains("declared twice"), "{error}");
}

fn names(sql: &str) -> Vec<&str> {
    placeholders(sql)
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn names_in_strings_identifiers_quotes_and_comments_are_no_parameters() {
    let none = [
        "'$a'",
        "'it''s $a'",
        r"'\' || $$ $a $$ || '$b'",
        r"E'\'$a'",
        r"e'''$a'",
        r"E'\\\'$a\\'",
        "\"$a\"",
        "\"x\"\"$a\"",
        "$$ $a ' $$",
        "$tag$ $a $$ $b $tag$",
        "$ü$ $a $ü$",
        "-- $a",
        "/* $a /* $b */ $c */",
        "tab$a",
        "ä$a",
        "1$a",
        "$",
        "$ a",
        "'$a",
        "/* $a",
        "$x$ $a",
    ];
    for sql in none {
        assert_eq!(names(sql), [""; 0], "{sql}");
    }
}

#[test]
fn names_beside_them_are_parameters() {
    let some: [(&str, &[&str]); 10] = [
        ("$a", &["a"]),
        ("$a::int+$_b2", &["a", "_b2"]),
        ("'x'$a", &["a"]),
        (r"'\'$a", &["a"]),
        (r"E'\\'$a", &["a"]),
        (r"ee'\'$a", &["a"]),
        ("/* /* */ */$a--\n$b", &["a", "b"]),
        ("$q$ $x $q$$a", &["a"]),
        ("($a)-$b/$c", &["a", "b", "c"]),
        ("é+$a", &["a"]),
    ];
    for (sql, expected) in some {
        assert_eq!(names(sql), expected, "{sql}");
    }
}

fn declared(names: &[&str]) -> Parameters {
    let parameters = names
        .iter()
        .map(|name| Parameter::new(*name, ParameterKind::Integer));
    Parameters::new(parameters.collect()).unwrap()
}

#[test]
fn names_become_numbers_in_the_order_of_use() {
    let sql = "SELECT $b, '$a', $a::int, $b -- $c";
    let query = PositionalQuery::new(sql, &declared(&["a", "b"])).unwrap();
    assert_eq!(query.sql(), "SELECT $1, '$a', $2::int, $1 -- $c");
    assert_eq!(query.order(), [1, 0]);
}

#[test]
fn a_text_and_declarations_that_do_not_agree_are_refused() {
    let refused = |sql: &str| {
        let error = PositionalQuery::new(sql, &declared(&["a"])).unwrap_err();
        assert_eq!(check_names(sql, &declared(&["a"])), Err(error.clone()));
        error.to_string()
    };
    assert_eq!(
        refused("SELECT $a,\n 'ü', $b"),
        "line 2, column 7: $b is not declared"
    );
    assert_eq!(
        refused("SELECT $a, $1"),
        "line 1, column 12: parameters have names, as $name"
    );
    for unused in ["SELECT 1", "SELECT '$a' -- $a", "SELECT \"$a\", a$a"] {
        assert_eq!(refused(unused), "the query does not use the parameter a");
    }
    let two = check_names("SELECT $a", &declared(&["a", "b"])).unwrap_err();
    assert_eq!(two.to_string(), "the query does not use the parameter b");
    assert_eq!(
        check_names("SELECT $b, $a, $b", &declared(&["a", "b"])),
        Ok(())
    );
}

#[test]
fn places_in_the_numbered_text_are_found_in_the_named_one() {
    let sql = "SELECT $long_name, ö\n, oops $long_name x";
    let query = PositionalQuery::new(sql, &declared(&["long_name"])).unwrap();
    assert_eq!(query.sql(), "SELECT $1, ö\n, oops $1 x");
    let at = |what: &str| {
        let byte = query.sql().find(what).unwrap();
        query.named_position(query.sql()[..byte].chars().count() + 1)
    };
    let position = |line, column| TextPosition { line, column };
    assert_eq!(at("SELECT"), position(1, 1));
    assert_eq!(at("$1"), position(1, 8));
    assert_eq!(at("ö"), position(1, 20));
    assert_eq!(at("oops"), position(2, 3));
    assert_eq!(at("x"), position(2, 19));
    assert_eq!(query.named_position(10_000), position(2, 20));
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(sql in "[-$'\"/*eE\\\\a1ü \n]{0,40}") {
        let found = placeholders(&sql);
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        for name in &names {
            prop_assert!(sql.contains(name));
        }
        for character in 0..50 {
            if let Ok(query) = PositionalQuery::new(&sql, &declared(&["a"])) {
                query.named_position(character);
            }
        }
    }

    #[test]
    fn values_are_read_back_from_their_text(days in -719_162..2_932_897_i32, time in 0..86_400_000_000_i64, number: f64) {
        let timestamp = i64::from(days) * 86_400_000_000 + time;
        for value in [Value::Date(days), Value::Timestamp(timestamp), Value::Float(number)] {
            let is_value = !matches!(value, Value::Float(number) if !number.is_finite());
            let text = value.to_string();
            prop_assert_eq!(read(value.kind(), &text).ok(), is_value.then_some(value));
        }
    }
}
