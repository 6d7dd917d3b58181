//! What is on the page of a table.

/// A link.
pub(crate) struct Link {
    pub(crate) href: String,
    pub(crate) text: String,
}

/// All links, in the order of the page.
pub(crate) fn links(page: &str) -> Vec<Link> {
    let links = page.split("<a ").skip(1).map(|rest| {
        let (_, href) = rest.split_once("href=\"").expect("a link");
        let (href, rest) = href.split_once('"').expect("an end");
        let (_, text) = rest.split_once('>').expect("an end");
        let (text, _) = text.split_once("</a>").expect("an end");
        Link {
            href: unescaped(href),
            text: unescaped(text),
        }
    });
    links.collect()
}

/// The texts of the cells, row by row.
pub(crate) fn cells(page: &str) -> Vec<String> {
    let cells = page.split("<td").skip(1).map(|rest| {
        let (_, text) = rest.split_once('>').expect("an end");
        unescaped(text.split_once("</td>").expect("an end").0)
    });
    cells.collect()
}

/// What stands below the table.
pub(crate) fn note(page: &str) -> String {
    let (_, note) = page.split_once("<p class=\"end\">").expect("a note");
    unescaped(note.split_once("</p>").expect("an end").0)
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    let text = text.replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&amp;", "&")
}
