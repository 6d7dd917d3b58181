//! Which files below a folder are data, and the columns that hive partitions make.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
};

use arrow::{
    array::{Array, Int64Array},
    datatypes::DataType,
    ipc::writer::FileWriter,
};
use datastreamer_engine::TableFiles;

use crate::support::{collect, engine_of, ids, scan, stars, texts, write_fits, write_parquet};

/// Writes a file of any kind with the one row `id` = 1 or more columns.
fn write(path: &Path, id: i64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match path.extension().unwrap().to_str().unwrap() {
        "parquet" => write_parquet(path, &stars(id, 1)),
        "fits" => write_fits(path, &stars(id, 1)),
        "arrow" => {
            let batch = stars(id, 1);
            let file = fs::File::create(path).unwrap();
            let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
        }
        "ndjson" => fs::write(path, format!("{{\"id\":{id}}}\n")).unwrap(),
        _ => fs::write(path, format!("id\n{id}\n")).unwrap(),
    }
}

const SUFFIXES: [&str; 6] = ["parquet", "csv", "tsv", "ndjson", "arrow", "fits"];

fn found(path: &Path, filter: &[(&str, &str)]) -> Vec<i64> {
    let mut found = ids(&collect(scan(&engine_of(path), filter).unwrap()));
    found.sort_unstable();
    found
}

fn refusal(path: &Path) -> String {
    TableFiles::find(path).unwrap_err().to_string()
}

#[test]
fn the_null_partition_is_null_in_every_kind_of_file() {
    for suffix in SUFFIXES {
        let folder = tempfile::tempdir().unwrap();
        for (id, year) in [(1, "2024"), (2, "__HIVE_DEFAULT_PARTITION__"), (3, "0031")] {
            let file = folder.path().join(format!("year={year}/part.{suffix}"));
            write(&file, id);
        }
        for (filter, expected) in [
            ("is.null", &[2][..]),
            ("not.is.null", &[1, 3]),
            ("gt.2000", &[1]),
            ("eq.31", &[3]),
            ("eq.0031", &[3]),
            ("neq.31", &[1]),
            ("in.(31,2024)", &[1, 3]),
        ] {
            let found = found(folder.path(), &[("year", filter)]);
            assert_eq!(found, expected, "{suffix} {filter}");
        }
        let engine = engine_of(folder.path());
        let rows = collect(scan(&engine, &[("select", "id,year")]).unwrap());
        let schema = rows.schema();
        let year = schema.field_with_name("year").unwrap();
        assert_eq!(
            (year.data_type(), year.is_nullable()),
            (&DataType::Int64, true)
        );
        let years = rows.column_by_name("year").unwrap();
        let years: &Int64Array = years.as_any().downcast_ref().unwrap();
        let mut pairs: Vec<_> = ids(&rows).into_iter().zip(years).collect();
        pairs.sort_unstable();
        assert_eq!(
            pairs,
            [(1, Some(2024)), (2, None), (3, Some(31))],
            "{suffix}"
        );
    }
}

#[test]
fn escaped_values_are_decoded_in_every_kind_of_file() {
    for suffix in SUFFIXES {
        let folder = tempfile::tempdir().unwrap();
        let values = [
            (1, "a%2Fb", "a/b"),
            (2, "50%25", "50%"),
            (3, "x=y", "x=y"),
            (4, "%C3%BC", "ü"),
            (5, "2021-09-08 11%3A11", "2021-09-08 11:11"),
            (6, "9223372036854775808", "9223372036854775808"),
        ];
        for (id, folder_value, _) in values {
            let name = format!("a%20key={folder_value}/part.{suffix}");
            write(&folder.path().join(name), id);
        }
        for (id, _, value) in values {
            let filter = format!("eq.{value}");
            assert_eq!(
                found(folder.path(), &[("a key", &filter)]),
                [id],
                "{suffix} {value}"
            );
        }
    }
}

#[test]
fn a_partition_that_is_a_column_of_the_files_too_has_the_values_of_the_files() {
    for suffix in SUFFIXES {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (id, value) in [
            (1, "id=1"),
            (2, "id=77"),
            (3, "id=__HIVE_DEFAULT_PARTITION__"),
            (4, "id=a%2Fb"),
        ] {
            write(&root.join(value).join(format!("x.{suffix}")), id);
        }
        let engine = engine_of(root);
        let read = |filter: &str| {
            let mut found = ids(&collect(scan(&engine, &[("id", filter)]).unwrap()));
            found.sort_unstable();
            found
        };
        for (filter, expected) in [
            ("gt.0", &[1, 2, 3, 4][..]),
            ("eq.2", &[2]),
            ("eq.77", &[]),
            ("is.null", &[]),
            ("in.(3,4)", &[3, 4]),
        ] {
            assert_eq!(read(filter), expected, "{suffix} {filter}");
        }
        let shown = collect(scan(&engine, &[]).unwrap());
        let names = shown.schema().fields().len();
        assert_eq!(
            names,
            collect(scan(&engine_of(&root.join("id=1")), &[]).unwrap()).num_columns()
        );
        // Its folders may have any value later.
        write(&root.join("id=later").join(format!("x.{suffix}")), 5);
        assert_eq!(read("eq.5"), [5], "{suffix}");
    }
}

#[test]
fn a_partition_that_is_a_column_of_some_files_only_is_refused() {
    for suffix in ["parquet", "ndjson"] {
        let lacks = |path: &Path| match suffix {
            "parquet" => write_parquet(path, &stars(2, 1).project(&[1]).unwrap()),
            _ => fs::write(path, "{\"RA\":1.5}\n").unwrap(),
        };
        for (names, expected) in [
            (
                ["id=1", "id=2"],
                "has no column \"id\", which other files of the partition have",
            ),
            (
                ["id=2", "id=1"],
                "has a column \"id\", which other files of the partition lack",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = |name| folder.path().join(name).join(format!("x.{suffix}"));
            let (has, lacking) = (path(names[0]), path(names[1]));
            let [first, second] = match names[0] < names[1] {
                true => [&has, &lacking],
                false => [&lacking, &has],
            };
            let write = |path: &Path| match path == has {
                true => write(path, 1),
                false => {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    lacks(path);
                }
            };
            write(first);
            let engine = engine_of(folder.path());
            write(second);
            let files = TableFiles::find(folder.path()).unwrap();
            let opened = crate::support::engine();
            let opened =
                crate::support::block_on(opened.register("stars", files, &Default::default()));
            for error in [
                opened.map(drop).unwrap_err(),
                scan(&engine, &[]).err().unwrap(),
            ] {
                let error = error.to_string();
                assert!(error.contains(expected), "{suffix}: {error}");
                assert!(
                    error.contains(second.to_str().unwrap()),
                    "{suffix}: {error}"
                );
            }
        }
    }
}

#[test]
fn partitions_below_a_plain_folder_keep_their_rows() {
    for suffix in SUFFIXES {
        let folder = tempfile::tempdir().unwrap();
        for (id, name) in [
            (1, "plain/year=2026/x"),
            (2, "year=2025/y"),
            (3, "plain/deep/year=2026/more/Npix=11"),
        ] {
            write(&folder.path().join(format!("{name}.{suffix}")), id);
        }
        assert_eq!(found(folder.path(), &[]), [1, 2, 3], "{suffix}");
        assert_eq!(
            found(folder.path(), &[("year", "eq.2026")]),
            [1, 3],
            "{suffix}"
        );
        let glob = folder.path().join(format!("**/*.{suffix}"));
        assert_eq!(found(&glob, &[("year", "eq.2025")]), [2], "{suffix}");
    }
}

#[test]
fn a_partition_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"name=\xff");
    write(&folder.path().join(name).join("x.csv"), 1);
    assert!(refusal(folder.path()).contains("is not UTF-8"));
    let twice = tempfile::tempdir().unwrap();
    write(&twice.path().join("y=1/y=2/x.csv"), 1);
    assert!(refusal(twice.path()).contains("two partitions called \"y\""));
}

#[test]
fn names_that_begin_with_a_dot_or_an_underscore_are_no_data() {
    for suffix in ["parquet", "csv", "fits"] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(&root.join(format!("part-0.{suffix}")), 1);
        for name in [
            "_part-1",
            ".part-2",
            "_temporary/0/part-3",
            ".staging/part-4",
            "a/_b/c",
        ] {
            write(&root.join(format!("{name}.{suffix}")), 9);
        }
        fs::write(root.join("_SUCCESS"), "").unwrap();
        fs::create_dir_all(root.join("_temporary/1")).unwrap();
        fs::write(root.join("_temporary/1/broken.csv"), "id\n\"half").unwrap();
        for glob in ["", "*", &format!("*.{suffix}"), &format!("**/*.{suffix}")] {
            assert_eq!(found(&root.join(glob), &[]), [1], "{glob}");
        }
        // What is named is read.
        for name in ["_part-1", ".part-2", "_temporary/0/part-3"] {
            assert_eq!(
                found(&root.join(format!("{name}.{suffix}")), &[]),
                [9],
                "{name}"
            );
        }
        for glob in ["_part-*", ".staging/*", "*/_b/*", "_*"] {
            let glob = root.join(format!("{glob}.{suffix}"));
            assert_eq!(found(&glob, &[]), [9], "{glob:?}");
        }
        // But nothing of a job that has not finished, unless it is that file.
        let below = format!("_temporary/0/*.{suffix}");
        for path in [
            "_temporary",
            "_temporary/0",
            &below,
            "_temporary/../_temporary",
        ] {
            let refusal = refusal(&root.join(path));
            assert!(refusal.contains("jobs that have not finished"), "{refusal}");
        }
        for glob in [&format!("_temp*/0/*.{suffix}"), &format!("*/0/*.{suffix}")] {
            assert!(refusal(&root.join(glob)).contains("matches no file"));
        }
    }
    // A partition's column may begin with an underscore.
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("_day=5/x.parquet"), 1);
    assert_eq!(found(folder.path(), &[("_day", "eq.5")]), [1]);
}

#[test]
fn a_table_of_a_format_with_a_log_is_refused_by_its_name() {
    for (log, format) in [
        ("_delta_log/00000000000000000000.json", "Delta Lake"),
        ("metadata/v1.metadata.json", "Iceberg"),
        ("metadata/00000-a.gz.metadata.json", "Iceberg"),
        (".hoodie/hoodie.properties", "Hudi"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let file = root.join("t/data/part-0.parquet");
        write(&file, 1);
        let engine = engine_of(root);
        write(&root.join("t").join(log).with_extension("csv"), 1);
        fs::write(root.join("t").join(log), "{}").unwrap();
        std::os::unix::fs::symlink("t/data", root.join("link")).unwrap();
        write(&root.join("t/a=1/b=2/c=3/part-0.parquet"), 1);
        for path in [
            "t",
            "t/*/*.parquet",
            "**/*.parquet",
            "t/data",
            "t/data/*.parquet",
            "t/a=1/b=2",
            "t/a=1/b=2/*/*.parquet",
            "link",
            "",
        ] {
            // A pattern's folders are those that it names.
            let refusal = refusal(&root.join(path));
            assert!(
                refusal.contains(format) && refusal.contains("export"),
                "{refusal}"
            );
        }
        let later = scan(&engine, &[]).err().unwrap().to_string();
        assert!(later.contains(format), "{later}");
        assert_eq!(found(&file, &[]), [1]);
    }
    // A folder of that name is one like others.
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("metadata/x.csv"), 1);
    assert_eq!(found(folder.path(), &[]), [1]);
}

#[test]
fn a_file_of_another_kind_is_named_when_it_is_added() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.csv"), 1);
    fs::write(folder.path().join("notes.txt"), "no table").unwrap();
    for (glob, kinds) in [("", 2), ("*", 2), ("*.csv", 1)] {
        let engine = engine_of(&folder.path().join(glob));
        let other = folder.path().join("b.parquet");
        write(&other, 2);
        match (scan(&engine, &[]), kinds) {
            (Ok(rows), 1) => assert_eq!(ids(&collect(rows)), [1]),
            (Err(error), 2) => {
                let error = error.to_string();
                let wanted = "has files of several kinds, such as b.parquet and a.csv";
                assert!(error.contains(wanted), "{error}");
            }
            (other, _) => panic!("{glob}: {:?}", other.map(collect)),
        }
        fs::remove_file(other).unwrap();
    }
    let engine = engine_of(folder.path());
    fs::remove_file(folder.path().join("a.csv")).unwrap();
    write(&folder.path().join("b.parquet"), 2);
    let error = scan(&engine, &[]).err().unwrap().to_string();
    assert!(
        error.contains("has Parquet files now, and had CSV files"),
        "{error}"
    );
}

#[test]
fn a_null_that_comes_later_is_refused_where_the_column_has_none() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("y=1/a.csv"), 1);
    let engine = engine_of(folder.path());
    write(&folder.path().join("y=__HIVE_DEFAULT_PARTITION__/a.csv"), 2);
    let error = scan(&engine, &[]).err().unwrap().to_string();
    let wanted = "are \"y\" (64-bit integer with nulls) now, and were \"y\" (64-bit integer) when the table \
         was opened";
    assert!(error.contains(wanted), "{error}");
    // Where it has one, and where it is text, others may come.
    let engine = engine_of(folder.path());
    write(&folder.path().join("y=2/a.csv"), 3);
    assert_eq!(ids(&collect(scan(&engine, &[("y", "eq.2")]).unwrap())), [3]);
    write(&folder.path().join("y=x/a.csv"), 4);
    let engine = engine_of(folder.path());
    write(&folder.path().join("y=3/a.csv"), 5);
    let read = collect(scan(&engine, &[("y", "eq.3")]).unwrap());
    assert_eq!(texts(&read, "y"), [Some("3".to_owned())]);
}

#[test]
fn any_name_of_a_file_is_read() {
    use std::os::unix::ffi::OsStrExt;
    for suffix in SUFFIXES {
        for name in [
            &b"100% sure"[..],
            b"a#b?c",
            b"line\nbreak\r\t\x1b",
            b"not UTF-8 \xff\xfe",
            b"%escaped",
            b"a%0Ab",
            b"back\\slash",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let name = [name, b".", suffix.as_bytes()].concat();
            let file = folder.path().join(std::ffi::OsStr::from_bytes(&name));
            write(&file, 7);
            for path in [file.as_path(), folder.path()] {
                assert_eq!(found(path, &[("id", "gt.6")]), [7], "{file:?}");
                let shown = found(path, &[("select", "id")]);
                assert_eq!(shown, [7], "{file:?}");
            }
        }
    }
}

#[test]
fn a_glob_matches_names_that_are_not_utf_8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let folder = tempfile::tempdir().unwrap();
    let odd = OsStr::from_bytes(b"q\xe9.csv");
    let odd_folder = folder.path().join(OsStr::from_bytes(b"d\xe9"));
    write(&folder.path().join("a.csv"), 1);
    write(&folder.path().join(odd), 2);
    write(&odd_folder.join("b.csv"), 3);
    write(&folder.path().join(".hidden/c.csv"), 4);
    for (pattern, ids) in [
        ("*.csv", vec![1, 2]),
        ("q?.csv", vec![2]),
        ("*/*.csv", vec![3]),
        ("**/*.csv", vec![1, 2, 3]),
        ("**/**/*.csv", vec![1, 2, 3]),
        ("[a-b].csv", vec![1]),
        (".hidden/*.csv", vec![4]),
    ] {
        assert!(
            TableFiles::matches(&folder.path().join(pattern)).unwrap(),
            "{pattern}"
        );
        assert_eq!(found(&folder.path().join(pattern), &[]), ids, "{pattern}");
    }
    for pattern in ["z*.csv", "[", "a.csv/*", "**/z"] {
        assert!(!TableFiles::matches(&folder.path().join(pattern)).unwrap());
    }
}

/// Behind a link may be a file or a folder of rows.
#[test]
fn a_link_that_leads_nowhere_is_an_error_with_its_target_for_the_operator_alone() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.csv"), 1);
    let target = folder.path().join("gone/of mine.csv");
    for name in ["b.csv", "year=2024", "c"] {
        let link = folder.path().join(name);
        symlink(&target, &link).unwrap();
        let wanted = format!(
            "{}: is a link that leads nowhere: there is no {}",
            link.display(),
            target.display()
        );
        for path in [link.as_path(), folder.path(), &folder.path().join("*")] {
            let error = TableFiles::find(path).unwrap_err();
            assert_eq!(error.to_string(), wanted, "{path:?}");
            let wanted = format!("{name}: is a link that leads nowhere");
            assert_eq!(error.text_for_clients(), wanted);
        }
        fs::remove_file(&link).unwrap();
    }
    symlink(&target, folder.path().join(".lock.csv")).unwrap();
    assert_eq!(found(folder.path(), &[]), [1]);
}

#[test]
fn two_stars_at_the_end_of_a_glob_are_all_files_below() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (id, name) in [
        (1, "d/a.csv"),
        (2, "d/e/b.csv"),
        (3, "d/.hidden/c.csv"),
        (4, "d/_temporary/d.csv"),
        (5, "d/_e.csv"),
        (6, "f.csv"),
    ] {
        write(&root.join(name), id);
    }
    fs::write(root.join("d/README"), "").unwrap();
    for (pattern, expected) in [
        ("d/**", &[1, 2][..]),
        ("d/**/*", &[1, 2]),
        ("d/**/**", &[1, 2]),
        ("*/**", &[1, 2]),
        ("**", &[1, 2, 6]),
    ] {
        assert!(
            TableFiles::matches(&root.join(pattern)).unwrap(),
            "{pattern}"
        );
        assert_eq!(found(&root.join(pattern), &[]), expected, "{pattern}");
    }
    for (id, year) in [(7, 2024), (8, 2025)] {
        write(&root.join(format!("p/year={year}/a.csv")), id);
    }
    assert_eq!(found(&root.join("p/**"), &[("year", "eq.2025")]), [8]);
}

#[test]
fn a_glob_may_have_folders_and_files_whose_names_are_not_utf_8() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join(OsStr::from_bytes(b"nu\xff"));
    write(&odd.join("a.csv"), 1);
    write(&odd.join("e/b.csv"), 2);
    write(&odd.join(OsStr::from_bytes(b"e/\xfe.csv")), 3);
    for (pattern, expected) in [
        ("*.csv", &[1][..]),
        ("**/*.csv", &[1, 2, 3]),
        ("**", &[1, 2, 3]),
        ("e/?.csv", &[2, 3]),
    ] {
        assert!(
            TableFiles::matches(&odd.join(pattern)).unwrap(),
            "{pattern}"
        );
        assert_eq!(found(&odd.join(pattern), &[]), expected, "{pattern}");
    }
    let part = odd.join(OsStr::from_bytes(b"\xfe*.csv"));
    let wanted = "is no pattern in UTF-8: write ? for each other byte";
    assert!(refusal(&part).ends_with(wanted), "{}", refusal(&part));
}
