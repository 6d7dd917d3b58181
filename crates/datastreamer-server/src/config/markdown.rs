//! The reference of the configuration as a page: `docs/configuration.md`.

use std::fmt::Write;

use super::reference::{Default, ROUTES, Section, Setting, sections};

const HEAD: &str = "\
# Configuration

<!-- Written by `datastreamer config reference`; do not edit. -->

`datastreamer serve --config FILE` reads a TOML file; `DATASTREAMER_CONFIG` names one too. Every \
setting has a default. `datastreamer check FILE` reports all errors of a file, each with its line: those of its settings, and of the files, programs and queries that it names. Queries are not checked if what they read has an error. It reads every row of the tables; with `--quick` it reads of Parquet, Arrow and FITS files only the columns, and of text files only those rows that types are inferred from, as `serve` does when it starts. \
[program.md](program.md) shows an example. Relative paths start at the folder of the file.

Types:
- **size**: bytes as a number (`1000000`, `1e9`), or text with a unit: `\"64KiB\"`, `\"1.5GB\"`; \
also MiB, GiB, TiB, kB, MB, TB.
- **duration**: text with units (`\"250ms\"`, `\"30s\"`, `\"1h 30m\"`), or seconds as a number; at \
most 100 years.
- **text** and **path**: in quotes.

An environment variable overrides the file: `DATASTREAMER_SERVER__LISTEN=0.0.0.0:80` sets \
`server.listen`. Routes, parameters and databases are only read from the file. A variable \
`DATASTREAMER_SECTION__KEY` that is no setting is an error; one without `__` is only reported in \
the log, because others set such names too (Kubernetes: `DATASTREAMER_PORT`).
";

/// Returns the page.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for section in sections() {
        push_section(&mut page, &section);
    }
    page
}

fn push_section(page: &mut String, section: &Section) {
    let is_of_kinds = section.name == ROUTES;
    let (title, line) = match is_of_kinds {
        true => ("| kinds ", "|---"),
        false => ("", ""),
    };
    let name = section.name;
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## [{name}]\n{}\n", section.about);
    if let Some(variable) = section.variable("KEY") {
        let _ = write!(page, "\nEnvironment: `{variable}`.\n");
    }
    let _ = write!(
        page,
        "\n| key {title}| type | default | meaning |\n|---{line}|---|---|---|\n"
    );
    for setting in &section.settings {
        let kinds = match is_of_kinds {
            true => format!("| {} ", kinds(setting)),
            false => String::new(),
        };
        let default = match &setting.default {
            Default::Required => "required".into(),
            Default::Value(value) => format!("`{value}`"),
            Default::Words(words) => (*words).to_owned(),
        };
        let _ = writeln!(
            page,
            "| `{}` {kinds}| {} | {default} | {} |",
            setting.key,
            setting.value.describe(),
            setting.about
        );
    }
}

fn kinds(setting: &Setting) -> String {
    if setting.kinds == super::raw::Kind::ALL {
        return "all".into();
    }
    let names: Vec<_> = setting.kinds.iter().map(|kind| kind.name()).collect();
    names.join(", ")
}

#[cfg(test)]
#[cfg(feature = "tables")]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_what_the_program_prints() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let written = std::fs::read_to_string(file).expect("docs/configuration.md is there");
        assert!(
            written == page(),
            "docs/configuration.md is stale: datastreamer config reference > docs/configuration.md"
        );
    }
}
