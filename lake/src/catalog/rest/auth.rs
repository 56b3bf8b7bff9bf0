//! How requests identify themselves: not at all, by a token that was given, or by one that is fetched with client credentials
//! (OAuth2) and renewed before it expires.

use std::time::{Duration, Instant};

use reqwest::{Client, Url};
use tapehouse_core::secret::Secret;
use tokio::sync::Mutex;

use super::client::{MAX_SMALL_ANSWER_BYTES, answer_of, read_limited};
use super::error::RestError;
use super::wire::TokenAnswer;

/// A token without a time is held to live so long.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);
/// A token is renewed so long before it expires, but not before half of its life.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// However long it lives, a token is renewed after a day.
const LONGEST_USE: Duration = Duration::from_secs(24 * 3600);

/// Credentials of a client, and where they become a token. `Debug` shows no secret.
#[derive(Debug)]
pub(super) struct ClientCredentials {
    pub endpoint: Url,
    /// Absent where the server knows the client by its secret alone.
    pub id: Option<String>,
    pub secret: Secret,
    pub scope: String,
}

/// How to identify ourselves.
#[derive(Debug)]
pub(super) enum Login {
    None,
    Token(Secret),
    Credentials(Box<ClientCredentials>),
}

/// The token in use.
#[derive(Debug)]
pub(super) struct Token {
    text: Secret,
    renew_at: Instant,
}

/// Gives each request its token.
#[derive(Debug)]
pub(super) struct Authenticator {
    login: Login,
    // Held while a token is fetched, so that requests at the same time fetch one together.
    current: Mutex<Option<Token>>,
}

impl Authenticator {
    pub(super) fn new(login: Login) -> Self {
        Self {
            login,
            current: Mutex::new(None),
        }
    }

    /// The token for the next request. `refused` is one that the catalog no longer accepts.
    pub(super) async fn token(&self, http: &Client, refused: Option<&Secret>) -> Result<Option<Secret>, RestError> {
        let credentials = match &self.login {
            Login::None => return Ok(None),
            Login::Token(token) => return Ok(Some(token.clone())),
            Login::Credentials(credentials) => credentials,
        };
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref()
            && token.renew_at > Instant::now()
            && refused != Some(&token.text)
        {
            return Ok(Some(token.text.clone()));
        }
        let token = fetch(http, credentials).await?;
        let text = token.text.clone();
        *current = Some(token);
        Ok(Some(text))
    }

    /// Whether another token can be had for one that was refused.
    pub(super) fn can_renew(&self) -> bool {
        matches!(self.login, Login::Credentials(_))
    }
}

async fn fetch(http: &Client, credentials: &ClientCredentials) -> Result<Token, RestError> {
    let host = credentials.endpoint.authority().to_owned();
    let request = http
        .post(credentials.endpoint.clone())
        .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form(credentials));
    let response = request
        .send()
        .await
        .map_err(|error| RestError::transport(&host, error))?;
    let status = response.status();
    let body = read_limited(response, &host, "the token", MAX_SMALL_ANSWER_BYTES).await?;
    if !status.is_success() {
        // Its text is not repeated: some servers repeat what they were sent.
        return Err(match answer_of(status, &[]) {
            RestError::Refused { status, .. } => RestError::Unauthorized {
                status,
                message: "the client credentials were refused".to_owned(),
            },
            other => other,
        });
    }
    token_of(&body)
}

/// The token that an answer holds, and when it has to be renewed.
pub(super) fn token_of(body: &[u8]) -> Result<Token, RestError> {
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| RestError::Malformed {
        what: "the token",
        reason: "it holds no access_token".to_owned(),
    })?;
    let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
    let life = life.min(LONGEST_USE);
    let usable = life.saturating_sub(RENEW_BEFORE).max(life / 2);
    tracing::debug!(expires_in_s = life.as_secs(), "a token for the catalog was fetched");
    Ok(Token {
        text: Secret::new(answer.access_token),
        renew_at: Instant::now() + usable,
    })
}

fn form(credentials: &ClientCredentials) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(id) = &credentials.id {
        form.append_pair("client_id", id);
    }
    form.append_pair("client_secret", credentials.secret.reveal());
    form.append_pair("scope", &credentials.scope);
    form.finish()
}
