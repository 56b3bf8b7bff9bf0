//! All tables of a REST catalog: namespaces within namespaces, page after page.

use super::RestBackend;
use super::client::{Answer, Request};
use super::error::RestError;
use super::wire::{NamespacesAnswer, TablesAnswer};
use crate::name::TableName;

/// A catalog with more is not listed to its end.
const MAX_NAMESPACES: usize = 10_000;
const MAX_TABLES: usize = 100_000;
const MAX_PAGES: usize = 10_000;

impl RestBackend {
    /// All tables, sorted by name.
    pub(super) async fn all_tables(&self) -> Result<Vec<TableName>, RestError> {
        let mut tables = Vec::new();
        let mut waiting = self.namespaces(None).await?;
        let mut visited = 0;
        while let Some(namespace) = waiting.pop() {
            visited += 1;
            if visited > MAX_NAMESPACES || tables.len() > MAX_TABLES {
                return Err(too_many());
            }
            match self.tables(&namespace).await {
                Ok(found) => tables.extend(found),
                // Dropped since it was listed.
                Err(error) if error.is_status(404) => continue,
                Err(error) => return Err(error),
            }
            match self.namespaces(Some(&namespace)).await {
                // A server that does not know of parents answers with all; what is no child is not followed.
                Ok(children) => waiting.extend(
                    children
                        .into_iter()
                        .filter(|child| child.len() > namespace.len() && child.starts_with(&namespace)),
                ),
                // Servers without nested namespaces.
                Err(error) if error.is_status(404) || error.is_status(400) || error.is_status(406) => {}
                Err(error) => return Err(error),
            }
        }
        tables.sort_unstable();
        tables.dedup();
        Ok(tables)
    }

    async fn namespaces(&self, parent: Option<&[String]>) -> Result<Vec<Vec<String>>, RestError> {
        let mut found = Vec::new();
        let mut page = String::new();
        for _ in 0..MAX_PAGES {
            let mut request = Request::get("the list of namespaces", self.path(&["namespaces"]));
            request.query.push(("pageToken", page));
            if let Some(parent) = parent {
                request.query.push(("parent", parent.join(&self.separator)));
            }
            let (namespaces, next) = namespaces_in(&self.client.ask(&request).await?)?;
            found.extend(namespaces);
            if found.len() > MAX_NAMESPACES {
                return Err(too_many());
            }
            match next {
                Some(next) => page = next,
                None => return Ok(found),
            }
        }
        Err(too_many())
    }

    async fn tables(&self, namespace: &[String]) -> Result<Vec<TableName>, RestError> {
        let levels = namespace.join(&self.separator);
        let mut found = Vec::new();
        let mut page = String::new();
        for _ in 0..MAX_PAGES {
            let mut request = Request::get("the list of tables", self.path(&["namespaces", &levels, "tables"]));
            request.query.push(("pageToken", page));
            let (tables, next) = tables_in(&self.client.ask(&request).await?)?;
            found.extend(tables);
            if found.len() > MAX_TABLES {
                return Err(too_many());
            }
            match next {
                Some(next) => page = next,
                None => return Ok(found),
            }
        }
        Err(too_many())
    }
}

/// The namespaces of a page, and the token of the next page where there is one.
pub(super) fn namespaces_in(answer: &Answer) -> Result<(Vec<Vec<String>>, Option<String>), RestError> {
    let answer: NamespacesAnswer = answer.parse()?;
    Ok((
        answer.namespaces,
        answer.next_page_token.filter(|token| !token.is_empty()),
    ))
}

/// The tables of a page, and the token of the next page where there is one.
pub(super) fn tables_in(answer: &Answer) -> Result<(Vec<TableName>, Option<String>), RestError> {
    let answer: TablesAnswer = answer.parse()?;
    // A foreign table whose name this program could not write is none of its tables.
    let names = answer.identifiers.iter();
    let names = names.filter_map(|of| TableName::new(&of.namespace.join("."), &of.name).ok());
    Ok((
        names.collect(),
        answer.next_page_token.filter(|token| !token.is_empty()),
    ))
}

fn too_many() -> RestError {
    RestError::Malformed {
        what: "the list of tables",
        reason: format!("it has more than {MAX_NAMESPACES} namespaces, {MAX_TABLES} tables or {MAX_PAGES} pages"),
    }
}
