//! What the client makes of answers, without a server: for programs that feed it whatever a server could say (fuzz targets).

use std::collections::HashMap;
use std::sync::Mutex;

use reqwest::{Client, StatusCode};

use super::RestBackend;
use super::auth::{Authenticator, Login, token_of};
use super::client::{Answer, RestClient, answer_of};
use super::connect::url;
use super::error::RestError;
use super::listing::{namespaces_in, tables_in};
use super::wire::ConfigAnswer;
use crate::catalog::Pointer;
use crate::name::TableName;

/// A client that takes answers from its caller. Each of them is read by the code that reads a server's.
#[derive(Debug)]
pub struct RestAnswers(RestBackend);

impl RestAnswers {
    /// A client of the catalog at `uri`; nothing is ever sent.
    ///
    /// # Errors
    /// A text that is no catalog's URL.
    pub fn new(uri: &str, http: Client) -> Result<Self, RestError> {
        let client = RestClient::new(http, url(uri)?, Authenticator::new(Login::None));
        Self(RestBackend {
            client,
            prefix: Vec::new(),
            separator: String::new(),
            tags: Mutex::new(HashMap::new()),
        })
        .configured(b"{}")
    }

    /// The client after the catalog's configuration.
    ///
    /// # Errors
    /// An answer that cannot be used.
    pub fn configured(self, body: &[u8]) -> Result<Self, RestError> {
        let config: ConfigAnswer = answer("the catalog's configuration", body).parse()?;
        RestBackend::configured(self.0.client, &config).map(Self)
    }

    /// Reads a token; it is not kept.
    ///
    /// # Errors
    /// An answer that holds none.
    pub fn token(&self, body: &[u8]) -> Result<(), RestError> {
        token_of(body).map(drop)
    }

    /// The version of `table` that an answer to a load, a creation or a commit shows.
    ///
    /// # Errors
    /// An answer that shows no table.
    pub fn table(&self, table: &TableName, body: &[u8]) -> Result<Pointer, RestError> {
        self.0.pointer(table, &answer("the table", body))
    }

    /// Whether more pages follow one of namespaces.
    ///
    /// # Errors
    /// An answer that is none.
    pub fn namespaces(&self, body: &[u8]) -> Result<bool, RestError> {
        Ok(namespaces_in(&answer("the list of namespaces", body))?.1.is_some())
    }

    /// The tables of a page.
    ///
    /// # Errors
    /// An answer that is none.
    pub fn tables(&self, body: &[u8]) -> Result<Vec<TableName>, RestError> {
        Ok(tables_in(&answer("the list of tables", body))?.0)
    }

    /// What an answer with a `status` that is no success means; `None` where that is no HTTP status.
    pub fn refusal(&self, status: u16, body: &[u8]) -> Option<RestError> {
        Some(answer_of(StatusCode::from_u16(status).ok()?, body))
    }
}

fn answer(what: &'static str, body: &[u8]) -> Answer {
    Answer {
        what,
        unchanged: false,
        etag: Some("\"v1\"".to_owned()),
        body: body.to_vec().into(),
    }
}
