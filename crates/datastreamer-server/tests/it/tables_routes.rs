//! Names of files that are unusual, and the routes that they get.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::support::http;
use crate::support::program;
use crate::support::scratch::Scratch;
use crate::support::server::Server;

/// Exit code 3: the configuration, a path, or the address to listen on.
const CONFIGURATION: i32 = 3;

fn write(scratch: &Scratch, name: impl AsRef<OsStr>, value: &str) -> PathBuf {
    let file = scratch.join("files").join(Path::new(name.as_ref()));
    fs::create_dir_all(file.parent().expect("a folder")).expect("folders can be made");
    fs::write(&file, format!("v\n{value}\n")).expect("files can be written");
    file
}

/// The rows of a route.
#[track_caller]
fn rows(server: &Server, path: &str) -> String {
    let response = http::get(server.port(), path);
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    response.text().replace('\r', "")
}

#[test]
fn any_name_of_a_file_works_for_cat_and_is_an_encoded_route() {
    let scratch = Scratch::new("names");
    let names = [
        ("100% sure", "/100%25%20sure"),
        ("Beatmap #1114", "/Beatmap%20%231114"),
        ("what?", "/what%3F"),
        ("50%25", "/50%2525"),
        ("a%2Fb", "/a%252Fb"),
        ("[x] *", "/%5Bx%5D%20%2A"),
        ("k=v", "/k%3Dv"),
        ("ü\"'<&>", "/%C3%BC%22%27%3C%26%3E"),
        ("~t", "/~t"),
        ("line\nbreak", "/line%0Abreak"),
    ];
    let files = names.iter().enumerate();
    let files: Vec<_> = files
        .map(|(place, (name, _))| write(&scratch, format!("{name}.csv"), &place.to_string()))
        .collect();
    for (place, file) in files.iter().enumerate() {
        let mut cat = program::command(&["cat", "--format", "tsv"]);
        cat.arg(file);
        let said = program::finish(cat);
        said.assert_good();
        assert_eq!(said.text(), format!("v\n{place}\n"), "{file:?}");
        let mut narrowed = file.clone().into_os_string();
        narrowed.push("?v=lt.0");
        let mut cat = program::command(&["cat", "--format", "tsv"]);
        cat.arg(&narrowed);
        assert_eq!(program::finish(cat).text(), "v\n", "{narrowed:?}");
    }
    let server = Server::start(&files);
    let index = rows(&server, "/");
    for (place, (name, route)) in names.iter().enumerate() {
        assert_eq!(
            rows(&server, &format!("{route}.csv")),
            format!("v\n{place}\n"),
            "{name}"
        );
        assert!(
            index.contains(&format!("\"{route}.vot\"")),
            "{name}: {index}"
        );
        let head = http::head(server.port(), &format!("{route}.csv"));
        let disposition = head
            .header("content-disposition")
            .expect("a name to save as");
        assert!(disposition.contains(".csv"), "{disposition}");
    }
}

#[test]
fn only_the_suffix_of_a_kind_of_file_is_cut() {
    let scratch = Scratch::new("stems");
    let two = write(&scratch, "gaia.dr2.csv", "2");
    let three = write(&scratch, "gaia.dr3.csv", "3");
    let server = Server::start([&two, &three]);
    assert_eq!(rows(&server, "/gaia.dr2.csv"), "v\n2\n");
    assert_eq!(rows(&server, "/gaia.dr3.csv"), "v\n3\n");
    assert_eq!(http::get(server.port(), "/gaia.csv").status, 404);
}

#[test]
fn the_same_name_twice_gets_the_folders_before_it() {
    let scratch = Scratch::new("same");
    let one = write(&scratch, "A/data.csv", "1");
    let other = write(&scratch, "B/data.csv", "2");
    let third = write(&scratch, "B/other.csv", "3");
    let server = Server::start([&one, &other, &third]);
    assert_eq!(rows(&server, "/A-data.csv"), "v\n1\n");
    assert_eq!(rows(&server, "/B-data.csv"), "v\n2\n");
    assert_eq!(rows(&server, "/other.csv"), "v\n3\n");
    assert_eq!(http::get(server.port(), "/data.csv").status, 404);
    let one = one.to_str().expect("text");
    let twice = program::run(&["serve", one, one, "--listen", "127.0.0.1:0"]);
    twice.assert_refused(CONFIGURATION, &["two routes would be /data"]);
}

#[test]
fn a_name_may_be_given_before_the_path() {
    let scratch = Scratch::new("given");
    let file = write(&scratch, "data.csv", "1");
    let whole = write(&scratch, "x=data.csv", "2");
    for month in ["01", "02"] {
        write(&scratch, format!("t/month={month}/a.csv"), month);
    }
    let folder = file.parent().expect("a folder").to_owned();
    let with = |name: &str, path: &str| format!("{name}={}/{path}", folder.display());
    let server = Server::start([
        with("stars", "data.csv").into(),
        with("photos", "t").into(),
        whole.into_os_string(),
        "--table".into(),
        with("my table", "t").into(),
        "--table".into(),
        format!("{}/t/month=*/*.csv", folder.display()).into(),
    ]);
    assert_eq!(rows(&server, "/stars.csv"), "v\n1\n");
    assert_eq!(rows(&server, "/x%3Ddata.csv"), "v\n2\n");
    // 01 is text in a CSV file, and a number in a partition.
    let months = "v,month\n01,1\n02,2\n";
    assert_eq!(rows(&server, "/my%20table.csv"), months);
    assert_eq!(rows(&server, "/table.csv"), months);
    assert_eq!(http::get(server.port(), "/photos.tar").status, 200);
    // A pattern is a path where it matches: its folders may be partitions.
    let mut relative = program::command(&["serve", "month=*/*.csv", "--listen", "nowhere"]);
    relative.current_dir(folder.join("t"));
    let refused = program::finish(relative);
    assert!(refused.stderr.contains("--listen"), "{}", refused.stderr);
    let missing = program::run(&["serve", "stars=nothing.csv", "--listen", "127.0.0.1:0"]);
    missing.assert_refused(CONFIGURATION, &["nothing.csv", "no such file"]);
}

#[test]
fn a_name_that_is_not_utf_8_works_and_its_route_says_so() {
    let scratch = Scratch::new("bytes");
    let name = OsStr::from_bytes(b"a\xffb.csv");
    let file = write(&scratch, name, "1");
    let mut cat = program::command(&["cat", "--format", "tsv"]);
    cat.arg(&file);
    let said = program::finish(cat);
    said.assert_good();
    assert_eq!(said.text(), "v\n1\n");
    let server = Server::start([&file]);
    assert_eq!(rows(&server, "/a%FFb.csv"), "v\n1\n");
    let index = http::get(server.port(), "/");
    assert!(index.text().contains("/a%FFb.vot"), "{}", index.text());
    // What a client sends that takes the address for text.
    assert_eq!(rows(&server, "/a%25FFb.csv"), "v\n1\n");
}
