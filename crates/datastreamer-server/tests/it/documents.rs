//! The recipes of README.md and the examples of docs/program.md do what they say, as they stand there.

use std::{fs, path::Path};

use crate::support::{
    http,
    program::{self, Daemon},
    scratch::Scratch,
    server::Server,
    tables, tools,
};

/// What the documents have in their URLs.
const ADDRESS: &str = "127.0.0.1:8080";
const ROWS: u64 = 100_000;
/// What begins a server there.
const SERVE: &str = "datastreamer serve";

fn text_of(document: &str) -> String {
    fs::read_to_string(tools::checkout().join(document)).expect("a document can be read")
}

/// Returns the lines of each block of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<Vec<&'a str>> {
    let begin = format!("```{language}");
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while lines.any(|line| line == begin) {
        blocks.push(lines.by_ref().take_while(|line| *line != "```").collect());
    }
    blocks
}

/// Runs lines in a shell that fails with the first of them.
fn run(lines: &str, folder: &Path) {
    let mut bash = tools::program("bash");
    bash.args(["-euc", lines]).current_dir(folder);
    bash.env("HOME", folder.join("home"));
    let said = program::finish(bash);
    assert_eq!(said.code, Some(0), "{lines}\n{said:?}");
}

#[test]
fn the_recipes_with_curl_run_as_they_stand_in_the_readme() {
    let scratch = Scratch::new("readme");
    let stars = tables::stars(scratch.path(), "stars", ROWS);
    // Of 50 MB more than a slow client's connection holds: it is not on the way to its end at once.
    let large = scratch.join("large");
    fs::create_dir_all(&large).expect("folders can be made");
    let large_stars = tables::big(&large, "stars");
    let home = scratch.join("home");
    for folder in ["photos", "observations"] {
        fs::create_dir_all(home.join(folder)).expect("folders can be made");
    }
    fs::write(home.join("photos/sky.jpg"), "a photo").expect("files can be written");
    fs::copy(&stars, home.join("observations/night.parquet")).expect("files can be copied");
    let readme = text_of("README.md");
    let mut count = 0;
    for block in blocks(&readme, "sh") {
        if !block.iter().any(|line| line.contains("curl ")) {
            continue;
        }
        // Before the recipes it is the demo.
        let served = block.iter().find_map(|line| line.strip_prefix(SERVE));
        let words = served.unwrap_or_default().split_whitespace();
        let resumes = block.iter().any(|line| line.contains("-C -"));
        let server = Server::start(words.map(|word| match word.strip_prefix("~/") {
            Some(name) => home.join(name).into_os_string(),
            None if word.starts_with('-') => word.into(),
            None if resumes => large.join(word).into_os_string(),
            None => scratch.join(word).into_os_string(),
        }));
        let folder = scratch.join(&format!("downloads-{count}"));
        fs::create_dir_all(&folder).expect("folders can be made");
        let here = |line: &&str| line.replace(ADDRESS, &format!("127.0.0.1:{}", server.port()));
        let lines = block.iter().filter(|line| !line.starts_with(SERVE));
        let lines: Vec<_> = lines.map(here).collect();
        run(&lines.join("\n"), &folder);
        let found = fs::read_dir(&folder).expect("a folder can be read");
        let found: Vec<_> = found.map(|entry| entry.expect("an entry").path()).collect();
        assert!(!found.is_empty(), "{block:?}");
        for line in lines.iter().filter(|line| line.contains("-C -")) {
            let [file] = &found[..] else {
                panic!("{found:?}");
            };
            let whole = fs::read(&large_stars).expect("it is there");
            assert!(fs::read(file).expect("it was downloaded") == whole);
            fs::remove_file(file).expect("files can be removed");
            let slowly = line.replace("-C -", "--limit-rate 200k");
            run(&format!("! timeout 2 {slowly}"), &folder);
            let part = fs::read(file).expect("a part was downloaded").len();
            assert!(part > 0 && part < whole.len(), "{part} bytes");
            run(line, &folder);
            assert!(fs::read(file).expect("it was resumed") == whole, "{line}");
        }
        count += lines.iter().filter(|line| line.contains("curl ")).count();
    }
    assert_eq!(
        count,
        readme.matches("curl -").count(),
        "each of them was run"
    );
}

#[test]
fn the_route_of_the_example_of_files_for_later_keeps_its_files() {
    let text = text_of("docs/program.md");
    let example = blocks(&text, "sh").concat();
    let example = example
        .iter()
        .find(|line| line.contains("Prefer: respond-async"));
    let example = example.expect("there is one");
    let path = example.split(ADDRESS).nth(1).expect("a URL");
    let path = path.split_whitespace().next().expect("a path");
    let name = path.trim_start_matches('/').split('.').next();
    let head = format!("[routes.{}]", name.expect("a name"));
    let configurations = blocks(&text, "toml").into_iter();
    let mut configurations =
        configurations.filter(|block| block.iter().any(|line| line.starts_with(&head)));
    let route: Vec<_> = configurations
        .next()
        .expect("the route is configured")
        .into_iter()
        .skip_while(|line| !line.starts_with(&head))
        .take_while(|line| !line.is_empty())
        .map(|line| match line.starts_with("argv") {
            true => "argv = [\"echo\", \"rows\"]",
            false => line,
        })
        .collect();
    let daemon = Daemon::start(&(route.join("\n") + "\n"));
    let accepted = http::get_with(daemon.port(), path, "Prefer: respond-async");
    assert_eq!(accepted.status, 202, "{route:?}");
    assert_eq!(accepted.header("location"), Some(path));
    assert_eq!(http::get(daemon.port(), path).text(), "rows\n");
}
