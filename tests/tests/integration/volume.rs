//! Two million trades, complete and once, on whatever backend the tests run on.

use tapehouse_tests::{Feed, Site, Topic, stack};

use crate::support::{PATIENCE, equal, with};

const TRADES: u64 = 2_000_000;

#[test]
fn two_million_trades_land_complete_and_once() {
    with(stack(), "volume", |servers, folder| {
        let topic = Topic {
            topic: "volume.trades".to_owned(),
            table: "bronze.raw_trades".to_owned(),
        };
        let site = Site::new(folder, servers, std::slice::from_ref(&topic), "")?;
        let count = TRADES.to_string();
        let generated = Feed::of(servers).generate(&site, &["--topic", "trades", "--count", &count, "--seed", "5"])?;
        equal(
            "produced",
            generated["topics"]["trades"]["produced"].as_u64(),
            Some(TRADES),
        )?;
        let report = site.catch_up("a", 4 * PATIENCE)?;
        equal("records", report["records"].as_u64(), Some(TRADES))?;
        let judgement = site.demand(&topic, Some(TRADES))?;
        equal("rows by DuckDB", judgement.oracle.figure("rows_duckdb"), Some(TRADES))?;
        equal("duplicates", judgement.oracle.figure("duplicates"), Some(0))?;
        eprintln!(
            "{TRADES} trades on {}: {report}, read by PyIceberg and DuckDB in {} s",
            servers.backend(),
            judgement.oracle.answer["seconds"]
        );
        Ok(())
    });
}
