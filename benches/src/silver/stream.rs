//! The streams that silver is measured with: of `shared/peers`' shape, 1 in 6 messages a correction, 2 % re-sends.

use std::path::Path;

use serde_json::Value;

use crate::Outcome;
use crate::servers::{Programs, Servers};

/// Of 1,224,000 messages 200,000 are corrections.
pub const CORRECTIONS: f64 = 200.0 / 1_224.0;
/// And 24,000 are sent again.
pub const DUPLICATES: f64 = 24.0 / 1_224.0;
/// Of the corrections on the stream of many days, so many move a trade to another day.
const MOVES: f64 = 0.05;
const DAYS: &str = "60";
/// 200 us from one trade to the next.
const EVENT_RATE: &str = "5000";
/// A Monday; both streams are over before today.
pub const START: &str = "2026-01-05T15:00:00Z";

/// How event time moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// 200 us from trade to trade: all of one or two days.
    Peers,
    /// Spread over 60 days; some corrections move a trade to another day.
    Days,
}

impl Stream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Peers, Self::Days];

    /// Short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Days => "60 days",
        }
    }

    /// Fills raw.trades with so many messages; what the generator says of them.
    ///
    /// # Errors
    /// When it produced another number.
    pub fn produce(
        self,
        (servers, programs): (&Servers, &Programs),
        folder: &Path,
        records: u64,
        seed: u64,
    ) -> Outcome<Value> {
        let shares = [CORRECTIONS, DUPLICATES, MOVES].map(|share| share.to_string());
        let (count, seed) = (records.to_string(), seed.to_string());
        let mut arguments = vec!["--count", &count, "--seed", &seed, "--start", START];
        arguments.extend(["--corrections", &shares[0], "--duplicates", &shares[1]]);
        match self {
            Self::Peers => arguments.extend(["--any-trade", "--event-rate", EVENT_RATE]),
            Self::Days => arguments.extend(["--days", DAYS, "--moves", &shares[2]]),
        }
        let said = servers.generate(programs, folder, &arguments)?;
        match said["produced"].as_u64() {
            Some(produced) if produced == records => Ok(said),
            other => Err(format!("the generator produced {other:?} of {records} records").into()),
        }
    }
}
