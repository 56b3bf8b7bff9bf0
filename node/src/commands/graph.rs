//! `tapehouse graph`

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tapehouse_core::assets::{Asset, AssetGraph, AssetLayer};
use tapehouse_core::clock::{now_ms, now_us};
use tapehouse_lake::derived::{DayTable, Derivation};
use tapehouse_lake::gold::positions::{PositionTable, Positions};
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::{Lake, TableName};

use super::explain::wrong;
use crate::cli::Global;
use crate::config::{Config, Part, Topic};
use crate::connect::{derive_failure, lake_failure, lake_settings};
use crate::console::{Align, OutputFormat, Style, Table, ago, grouped, print, print_json, rfc3339};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse graph                          every table, what it is made from, and how far it is
  tapehouse graph gold                     a layer
  tapehouse graph +gold.market_overview    a table and all that it is made from
  tapehouse graph silver.trades+           a table and all that is made from it
  tapehouse graph gold -o json | jq '.assets[] | select(.dirty_days > 0)'";

/// Arguments of `graph`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Tables, with commas between: names, layers, +NAME with all that it is made from, NAME+ with all that is made from it
    #[arg(value_name = "SELECTION", default_value = "bronze,silver,gold")]
    selection: String,
}

/// How far an asset is, as its tables tell.
struct Standing {
    rows: Option<u64>,
    last_commit_ms: Option<i64>,
    /// Days that are not as their sources are; none of what is not computed by day.
    dirty_days: Option<u64>,
}

/// Shows which tables are made from which, and how far each is.
///
/// # Errors
/// Bad configuration; a selection that means nothing; a catalog or table that cannot be read.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = Config::load(&global.flags(), &[Part::Lake])?;
    super::quiet_logs(&config);
    let graph = graph(&config.topics);
    let selected = match graph.select(&args.selection) {
        Ok(selected) => selected,
        Err(error) => wrong(&error.to_string()),
    };
    let lake = Lake::open_existing(lake_settings(&config)?).await;
    let lake = lake.map_err(|error| lake_failure(&error))?;
    let mut standings = BTreeMap::new();
    for asset in &selected {
        standings.insert(asset.name.as_str(), standing(&lake, asset, &config.cluster).await?);
    }
    match global.output {
        OutputFormat::Json => {
            let assets = selected
                .iter()
                .map(|asset| as_json(asset, &standings[asset.name.as_str()]));
            print_json(&json!({ "assets": assets.collect::<Vec<_>>() }));
        }
        OutputFormat::Table => print(&as_table(&selected, &standings)),
    }
    Ok(Exit::Ok)
}

/// All tables that are kept of these topics.
pub(crate) fn graph(topics: &[Topic]) -> AssetGraph {
    let mut assets = Vec::new();
    let mut add = |name: &str, layer, sources: Vec<String>, carries_state| {
        assets.push(Asset {
            name: name.to_owned(),
            layer,
            sources,
            carries_state,
        });
    };
    for topic in topics {
        add(&topic.table, AssetLayer::Bronze, Vec::new(), false);
        if let Some(silver) = topic.silver {
            add(silver.name(), AssetLayer::Silver, vec![topic.table.clone()], false);
        }
    }
    if topics.iter().any(|topic| topic.silver == Some(SilverTable::Trades)) {
        for table in DayTable::ALL {
            let layer = if table.is_gold() {
                AssetLayer::Gold
            } else {
                AssetLayer::Silver
            };
            add(
                table.name(),
                layer,
                table.sources().iter().map(ToString::to_string).collect(),
                false,
            );
        }
        for table in [PositionTable::Performance, PositionTable::Positions] {
            add(
                table.name(),
                AssetLayer::Gold,
                vec![SilverTable::Trades.name().to_owned()],
                true,
            );
        }
    }
    AssetGraph::new(assets)
}

async fn standing(lake: &Lake, asset: &Asset, cluster: &str) -> Result<Standing, Failure> {
    let name: TableName = asset.name.parse().map_err(Failure::failed)?;
    let table = lake.load(&name).await.map_err(|error| lake_failure(&error))?;
    let snapshot = table.as_ref().and_then(|table| table.metadata().current_snapshot());
    Ok(Standing {
        rows: table.as_ref().map(|table| table.live_rows().unwrap_or(0)),
        last_commit_ms: snapshot.map(|snapshot| snapshot.timestamp_ms()),
        dirty_days: match table {
            Some(_) => dirty_days(lake, asset, cluster).await?,
            None => None,
        },
    })
}

/// Days that have to be computed. Looking creates tables that are missing, so only what exists is looked at.
async fn dirty_days(lake: &Lake, asset: &Asset, cluster: &str) -> Result<Option<u64>, Failure> {
    if let Some(table) = DayTable::named(&asset.name) {
        let looked = Derivation::new(lake.clone(), table, cluster).look(now_us()).await;
        let looked = looked.map_err(|error| derive_failure(&error))?;
        return Ok(looked.map(|look| look.days().len() as u64));
    }
    if PositionTable::named(&asset.name).is_none() {
        return Ok(None);
    }
    let positions = Positions::new(lake.clone(), cluster);
    for table in &positions.tables {
        if lake.load(table).await.map_err(|error| lake_failure(&error))?.is_none() {
            return Ok(None);
        }
    }
    let looked = positions.look(now_us()).await.map_err(|error| derive_failure(&error))?;
    Ok(looked.map(|look| look.days().len() as u64))
}

fn as_json(asset: &Asset, standing: &Standing) -> Value {
    json!({
        "asset": asset.name,
        "layer": asset.layer.name(),
        "sources": asset.sources,
        "carries_state": asset.carries_state,
        "rows": standing.rows,
        "last_commit": standing.last_commit_ms.and_then(rfc3339),
        "dirty_days": standing.dirty_days,
    })
}

fn as_table(assets: &[&Asset], standings: &BTreeMap<&str, Standing>) -> String {
    let mut text = Table::new(&[
        ("TABLE", Align::Left),
        ("ROWS", Align::Right),
        ("DAYS TO COMPUTE", Align::Right),
        ("LAST COMMIT", Align::Left),
        ("MADE FROM", Align::Left),
    ]);
    for asset in assets {
        let standing = &standings[asset.name.as_str()];
        let sources = match (asset.sources.is_empty(), asset.carries_state) {
            (true, _) => "Kafka".to_owned(),
            (false, false) => asset.sources.join(", "),
            (false, true) => format!("{}, day after day", asset.sources.join(", ")),
        };
        text.row([
            asset.name.clone(),
            standing.rows.map_or("no table yet".to_owned(), grouped),
            standing.dirty_days.map_or("-".to_owned(), grouped),
            standing
                .last_commit_ms
                .map_or("never".to_owned(), |last| ago(last, now_ms())),
            sources,
        ]);
    }
    text.render(Style::of_stdout())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graph_has_what_a_node_keeps() {
        let graph = graph(&Topic::built_in());
        assert_eq!(graph.assets().len(), 3 + 3 + DayTable::ALL.len() + 2);
        let names: Vec<&str> = graph
            .select("silver.trades+")
            .unwrap()
            .iter()
            .map(|asset| asset.name.as_str())
            .collect();
        let expected = [
            "silver.trades",
            "silver.trader_activity",
            "gold.daily_trading_summary",
            "gold.trader_performance",
            "gold.portfolio_positions",
            "gold.market_overview",
        ];
        assert_eq!(names, expected);
        assert!(
            graph
                .select("gold")
                .unwrap()
                .iter()
                .all(|asset| asset.layer == AssetLayer::Gold)
        );
    }
}
