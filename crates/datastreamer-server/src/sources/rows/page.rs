//! What the page of a table has around its rows: links to the rows before and behind them, to other
//! orders, and a form that adds a filter. They work without a script.
//!
//! `rows.rs` asks here for pages of routes that narrow; `datastreamer_table::html` writes the page. All
//! links begin with `?`, so that they hold behind any path of a proxy. The page depends on the
//! parameters and on no order among them, as its ETag does (`http/versions.rs`).

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datastreamer::StreamWriter;
use datastreamer_engine::{Narrowing, takes};
use datastreamer_rows::narrowed::Ask;
use datastreamer_table::html::{ColumnHead, PageFrame, PageRows, Sorted};
use maud::{Markup, html};

use super::{
    Asks, Count, RowSource, Taken,
    form::{FORM, OPERATORS, form, has_breaks},
    quoted_in_list, taken_name,
};
use crate::{refusal::Refusal, sources::Query};

/// Parameters that narrow rows by no condition.
const NO_CONDITIONS: [&str; 3] = ["select", "order", "offset"];
/// Links and options of a page in bytes, 4 MiB: each link has all parameters, and a table may have 65,536
/// columns. What has no link beyond that can be asked for in the URL.
const LINKS_BYTES_MAX: usize = 4 << 20;

/// A page that is asked for.
pub(super) struct Page {
    /// What the table is called where it does not say so itself.
    title: String,
    /// Of a route that narrows.
    links: Option<Narrowed>,
}

/// What a page shows of a table that can be narrowed.
pub(super) struct Narrowed {
    asked: Asked,
    /// The columns that can be asked for, if they are known before a run.
    columns: Option<Schema>,
    /// Counts the rows of the table, without conditions.
    count: Option<Count>,
}

/// What was asked for.
#[derive(Clone)]
struct Asked {
    /// The parameters of the request, in an order of their own.
    parameters: Vec<(String, String)>,
    /// Those of them that are conditions.
    filters: Vec<(String, String)>,
    /// Rows that a page shows at most.
    rows_max: u64,
    offset: u64,
    /// Each page goes on where the one before has ended.
    has_order: bool,
    /// A column that is called like a parameter has no condition of its own.
    taken: Taken,
}

impl Page {
    /// Makes a page without links.
    pub(super) fn bare(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            links: None,
        }
    }

    /// Makes the page that has these links.
    pub(super) fn with_links(self, links: Narrowed) -> Self {
        Self {
            links: Some(links),
            ..self
        }
    }

    /// Makes what stands around the rows of a run: these columns, and as many rows as are known of the
    /// run, or one more than a page has if there are more. `offered` are the columns that can be asked for,
    /// where they are known for the run only (a `select` may have left out and renamed some), and `asks`
    /// tells what can be asked of them.
    /// **Blocks** to count those of all pages.
    ///
    /// # Errors
    /// The rows cannot be counted.
    pub(super) fn frame(
        self,
        result: &Schema,
        rows_known: Option<u64>,
        offered: Option<SchemaRef>,
        asks: Option<Asks>,
        place: &StreamWriter,
    ) -> Result<PageFrame, Refusal> {
        let Some(Narrowed {
            asked,
            columns,
            count,
        }) = self.links
        else {
            return Ok(PageFrame {
                title: self.title,
                above: String::new(),
                heads: Vec::new(),
                offset: 0,
                rows: None,
                below: Arc::new(|_| String::new()),
            });
        };
        let rows = match (rows_known, count) {
            (Some(known), _) if known > 0 && known != asked.rows_max.saturating_add(1) => {
                Some(known.saturating_add(asked.offset))
            }
            (_, Some(count)) if asked.filters.is_empty() => count(place)?,
            _ => None,
        };
        let columns = columns.as_ref().or(offered.as_deref());
        let columns = columns.map(|schema| Offered { schema, asks });
        Ok(asked.frame(self.title, result, columns.as_ref(), rows))
    }
}

impl Narrowed {
    /// Makes them of a request's parameters, of which `narrowing` are those that narrow.
    pub(super) fn new(
        asked: &Query,
        narrowing: &[&(String, String)],
        rows_max: u64,
        source: &RowSource,
    ) -> Self {
        let mut parameters = asked.pairs().to_vec();
        parameters.sort_unstable();
        let value_of = |name| {
            let mut named = narrowing.iter().filter(|(other, _)| other == name);
            named.next().map(|(_, value)| value.as_str())
        };
        let filters = narrowing
            .iter()
            .filter(|(name, _)| !NO_CONDITIONS.contains(&name.as_str()));
        let mut filters: Vec<_> = filters.copied().cloned().collect();
        filters.sort_unstable();
        Self {
            asked: Asked {
                parameters,
                filters,
                rows_max,
                // What is no number is refused by whoever narrows.
                offset: value_of("offset")
                    .and_then(|text| text.parse().ok())
                    .unwrap_or_default(),
                has_order: source.has_order() || value_of("order").is_some(),
                taken: source.taken(),
            },
            columns: source.columns().cloned(),
            count: source.count(),
        }
    }
}

impl Asked {
    fn frame(
        self,
        title: String,
        result: &Schema,
        columns: Option<&Offered<'_>>,
        rows: Option<u64>,
    ) -> PageFrame {
        let mut links = Links {
            parameters: &self.parameters,
            bytes_left: LINKS_BYTES_MAX,
        };
        let above = html! {
            (self.conditions(&mut links))
            @if let Some(columns) = columns { (self.form(columns, &mut links)) }
        };
        let heads = columns.map(|columns| self.heads(result, columns, &mut links));
        PageFrame {
            title,
            above: above.into_string(),
            heads: heads.unwrap_or_default(),
            offset: self.offset,
            rows,
            below: Arc::new(move |shown| self.other_pages(shown, rows).into_string()),
        }
    }

    /// What the rows are narrowed by, each with a link that takes it away.
    fn conditions(&self, links: &mut Links<'_>) -> Markup {
        let narrows = |(name, _): &&(String, String)| matches!(name.as_str(), "order" | "select");
        let others = self.parameters.iter().filter(narrows);
        let asked: Vec<_> = self.filters.iter().chain(others).collect();
        html! {
            @if !asked.is_empty() {
                ul class="asked" aria-label="what is asked for" {
                    @for (name, value) in asked {
                        li {
                            code title={ (name) "=" (value) } { (name) "=" (value) }
                            @if let Some(link) = links.without(name, value) {
                                a href=(link) rel="nofollow"
                                    aria-label={ "remove " (name) "=" (value) } { "remove" }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The form that adds a condition.
    fn form(&self, columns: &Offered<'_>, links: &mut Links<'_>) -> Markup {
        let fields = columns.schema.fields();
        let is_taken = FORM
            .iter()
            .any(|name| columns.schema.index_of(name).is_ok());
        let mut parameters = self.parameters.iter();
        let is_changed = parameters.any(|(name, value)| has_breaks(name) || has_breaks(value));
        let is_offered = |place: &usize| {
            let name = fields[*place].name();
            !self.taken.has(name) && !has_breaks(name)
        };
        let offered: Vec<_> = (0..fields.len()).filter(is_offered).collect();
        let names = offered.iter().map(|place| fields[*place].name());
        let bytes = names
            .clone()
            .map(|name| name.len() + "<option></option>".len())
            .sum();
        let is_taken_by_any = |operator: &str| {
            let mut places = offered.iter();
            places.any(|place| columns.takes(*place, operator))
        };
        let operators = OPERATORS
            .iter()
            .filter(|(name, _)| is_taken_by_any(operator_of(name)));
        if is_taken || is_changed || offered.is_empty() || !links.spend(bytes) {
            return html! {};
        }
        let column = html! {
            select name=(FORM[0]) {
                // Without a value, a browser takes the text with its white space collapsed.
                @for name in names { option value=(name) { (name) } }
            }
        };
        form(self.parameters.iter(), &column, operators, None)
    }

    /// The heads of the columns, which sort by them.
    fn heads(
        &self,
        result: &Schema,
        columns: &Offered<'_>,
        links: &mut Links<'_>,
    ) -> Vec<ColumnHead> {
        let is_select = |(name, _): &&(String, String)| name == "select";
        let select: Vec<_> = self.parameters.iter().filter(is_select).cloned().collect();
        // It was read before.
        let selected = Narrowing::parse(&select, columns.schema).unwrap_or_default();
        let order = self.parameters.iter().find(|(name, _)| name == "order");
        let order = order.map(|(_, value)| value.as_str());
        let heads = (0..result.fields().len()).map(|place| {
            let name = selected.column_of(place, result);
            let orders = orders(name, columns.schema).filter(|_| columns.has_order(name));
            let Some((ascending, descending)) = orders else {
                return ColumnHead::default();
            };
            let first = |by: &str| {
                let rest = order.and_then(|order| order.strip_prefix(by));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
            };
            let explicit = format!("{ascending}.asc");
            let sorted = match () {
                () if first(&ascending) || first(&explicit) => Some(Sorted::Ascending),
                () if first(&descending) => Some(Sorted::Descending),
                () => None,
            };
            let next = match sorted {
                Some(Sorted::Ascending) => &descending,
                _ => &ascending,
            };
            ColumnHead {
                link: links.with("order", next),
                sorted,
            }
        });
        heads.collect()
    }

    /// Links to the rows before and behind these.
    fn other_pages(&self, rows: PageRows, of_all: Option<u64>) -> Markup {
        let to = |offset: u64| {
            let mut links = Links {
                parameters: &self.parameters,
                bytes_left: usize::MAX,
            };
            match offset {
                0 => links.without_any("offset"),
                offset => links.with("offset", &offset.to_string()),
            }
        };
        let behind = self.offset.saturating_add(rows.shown);
        let page = self.rows_max.max(1);
        let before = self.offset.saturating_sub(page);
        let before = match of_all {
            // Far behind the end: the last page that has rows.
            Some(all) if before >= all => all.saturating_sub(1) / page * page,
            _ => before,
        };
        let has_next = rows.has_more && rows.shown > 0;
        html! {
            @if self.offset > 0 || has_next {
                nav aria-label="pages" {
                    @if self.offset > 0 {
                        a href=[to(0)] rel="nofollow" { "first" }
                        a href=[to(before)] rel="prev nofollow" { "previous" }
                    }
                    @if has_next {
                        a href=[to(behind)] rel="next nofollow" { "next" }
                    }
                    @if !self.has_order {
                        " The query may give its rows in another order each time: sorted by a \
                         column, each row is on one page."
                    }
                }
            }
        }
    }
}

/// The columns that can be asked for, and what can be asked of them: as what refuses it says.
struct Offered<'a> {
    schema: &'a Schema,
    /// What a database says of them.
    asks: Option<Asks>,
}

impl Offered<'_> {
    fn is_asked(&self, place: usize, ask: Ask) -> bool {
        self.asks.as_ref().is_none_or(|asks| asks(place, ask))
    }

    fn takes(&self, place: usize, operator: &str) -> bool {
        let ask = match operator {
            "is" => Ask::Null,
            "like" => Ask::Like,
            "ilike" => Ask::LikeIgnoringCase,
            "gt" | "gte" | "lt" | "lte" => Ask::Order,
            _ => Ask::Equal,
        };
        takes(self.schema.field(place), operator) && self.is_asked(place, ask)
    }

    fn has_order(&self, name: &str) -> bool {
        let place = self.schema.index_of(name);
        place.is_ok_and(|place| self.is_asked(place, Ask::Order))
    }
}

/// The operator of a choice of the form, which may have `not.` before it or a value behind.
fn operator_of(choice: &str) -> &str {
    let choice = choice.strip_prefix("not.").unwrap_or(choice);
    choice.split('.').next().unwrap_or(choice)
}

/// Makes the condition of the form's fields, if there are any, a parameter of both queries.
///
/// # Errors
/// There are some of them only, or one is given twice; the column's name is taken.
pub(super) fn take_form(query: &mut Query, asked: &mut Query, taken: &Taken) -> Result<(), String> {
    let mut fields = FORM.map(|_| None);
    for (field, name) in fields.iter_mut().zip(FORM) {
        asked.take(&[name])?;
        *field = query.take(&[name])?;
    }
    let (column, operator, value) = match fields {
        [None, None, None] => return Ok(()),
        [Some(column), Some(operator), value] => (column, operator, value.unwrap_or_default()),
        _ => return Err(format!("of {} only some are given", FORM.join(", "))),
    };
    if taken.has(&column) {
        return Err(taken_name(&column, "eq.VALUE"));
    }
    let condition = match operator.as_str() {
        "is.null" | "is.not_null" => operator,
        "in" | "not.in" if value.starts_with('(') && value.ends_with(')') => {
            format!("{operator}.{value}")
        }
        "in" | "not.in" => format!("{operator}.({value})"),
        _ => format!("{operator}.{value}"),
    };
    asked.add(&column, condition.clone());
    query.add(&column, condition);
    Ok(())
}

/// The values of `order` by a column, ascending and descending; `None` if it has no order, or its name
/// and a word behind it are the name of another column.
pub(super) fn orders(name: &str, columns: &Schema) -> Option<(String, String)> {
    let field = columns.field_with_name(name).ok()?;
    let descending = format!("{name}.desc");
    if field.data_type().is_nested() || columns.field_with_name(&descending).is_ok() {
        return None;
    }
    Some((
        quoted_in_list(name).into_owned(),
        quoted_in_list(&descending).into_owned(),
    ))
}

/// Makes links of a request's parameters with one of them changed, up to a bound of bytes.
struct Links<'a> {
    parameters: &'a [(String, String)],
    bytes_left: usize,
}

impl Links<'_> {
    /// The same rows with this parameter, from the first row on.
    fn with(&mut self, name: &str, value: &str) -> Option<String> {
        let is_kept = |(other, _): &&(String, String)| other != name && other != "offset";
        self.link(is_kept, Some((name, value)))
    }

    fn without(&mut self, name: &str, value: &str) -> Option<String> {
        let is_kept =
            |(other, of): &&(String, String)| (other != name || of != value) && other != "offset";
        self.link(is_kept, None)
    }

    fn without_any(&mut self, name: &str) -> Option<String> {
        self.link(|(other, _)| other != name, None)
    }

    fn link(
        &mut self,
        is_kept: impl FnMut(&&(String, String)) -> bool,
        added: Option<(&str, &str)>,
    ) -> Option<String> {
        let mut link = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
        for (name, value) in self.parameters.iter().filter(is_kept) {
            link.append_pair(name, value);
        }
        if let Some((name, value)) = added {
            link.append_pair(name, value);
        }
        let link = link.finish();
        self.spend(link.len()).then_some(link)
    }

    fn spend(&mut self, bytes: usize) -> bool {
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.unwrap_or_default();
        left.is_some()
    }
}
