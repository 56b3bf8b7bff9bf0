//! The time of a server that speaks HTTP, by the header `Date` of an answer.

use reqwest::RequestBuilder;
use reqwest::header::{AGE, CACHE_CONTROL, DATE};
use tapehouse_core::clock::{Sighting, now_ms};

/// Sends `request` and looks at the date of the answer, whose status does not matter; `None` where it tells none. An answer out of a
/// cache is as old as it says, and counts as none.
pub(crate) async fn look(request: RequestBuilder) -> Result<Option<Sighting>, reqwest::Error> {
    let asked_ms = now_ms();
    let response = request.header(CACHE_CONTROL, "no-cache").send().await?;
    let answered_ms = now_ms();
    let headers = response.headers();
    let date = headers.get(DATE).filter(|_| !headers.contains_key(AGE));
    let date = date.and_then(|date| date.to_str().ok());
    Ok(date.and_then(|date| Sighting::of_http_date(date, asked_ms, answered_ms)))
}
