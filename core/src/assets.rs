//! Assets: the tables that are kept, and which is made from which. Selections of them by name.

use std::collections::BTreeSet;
use std::fmt;

/// A layer of the lakehouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AssetLayer {
    /// Records as received.
    Bronze,
    /// One row a key, and what is derived of it by the hour.
    Silver,
    /// One partition a trading day.
    Gold,
}

impl AssetLayer {
    /// All of them, each after those that it needs.
    pub const ALL: [Self; 3] = [Self::Bronze, Self::Silver, Self::Gold];

    /// The layer of a table, by its namespace; `None` where it is in no layer.
    pub fn of(table: &str) -> Option<Self> {
        let (namespace, _) = table.split_once('.')?;
        Self::ALL.into_iter().find(|layer| layer.name() == namespace)
    }

    /// The namespace of its tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bronze => "bronze",
            Self::Silver => "silver",
            Self::Gold => "gold",
        }
    }
}

impl fmt::Display for AssetLayer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A table that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The table, with its namespace.
    pub name: String,
    /// Its layer.
    pub layer: AssetLayer,
    /// The tables that it is made from; none of a bronze table.
    pub sources: Vec<String>,
    /// Whether a day of it hangs on all days before.
    pub carries_state: bool,
}

/// All assets, each after its sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssetGraph(Vec<Asset>);

/// A selection that names no asset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` selects no table: a table, a layer, `gold.*`, with `+` before it for all that it is made from and behind it for all that is made from it"
)]
pub struct UnknownSelection(pub String);

impl AssetGraph {
    /// From assets in any order. What is made from itself, by whatever way, is left out.
    pub fn new(assets: impl IntoIterator<Item = Asset>) -> Self {
        let mut left: Vec<Asset> = assets.into_iter().collect();
        let known: BTreeSet<String> = left.iter().map(|asset| asset.name.clone()).collect();
        let (mut ordered, mut placed) = (Vec::new(), BTreeSet::new());
        loop {
            let is_ready = |asset: &Asset| {
                asset
                    .sources
                    .iter()
                    .all(|source| !known.contains(source) || placed.contains(source))
            };
            let (ready, rest): (Vec<Asset>, Vec<Asset>) = left.into_iter().partition(is_ready);
            if ready.is_empty() {
                return Self(ordered);
            }
            placed.extend(ready.iter().map(|asset| asset.name.clone()));
            ordered.extend(ready);
            left = rest;
        }
    }

    /// All assets, each after its sources.
    pub fn assets(&self) -> &[Asset] {
        &self.0
    }

    /// The assets that `selection` means, each after its sources: with commas between them, a table with or without its namespace, a layer
    /// (`gold` or `gold.*`), `+NAME` with all that it is made from, `NAME+` with all that is made from it.
    ///
    /// # Errors
    /// The first part that means none.
    pub fn select(&self, selection: &str) -> Result<Vec<&Asset>, UnknownSelection> {
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        for part in selection.split(',').map(str::trim) {
            let (part_only, upstream) = part.strip_prefix('+').map_or((part, false), |rest| (rest, true));
            let (name, downstream) = part_only
                .strip_suffix('+')
                .map_or((part_only, false), |rest| (rest, true));
            let named: Vec<&Asset> = self.0.iter().filter(|asset| is_meant(asset, name)).collect();
            if named.is_empty() {
                return Err(UnknownSelection(part.to_owned()));
            }
            let mut meant: BTreeSet<&str> = named.iter().map(|asset| asset.name.as_str()).collect();
            let mut both = meant.clone();
            if upstream {
                for asset in &named {
                    self.add_sources(asset, &mut both);
                }
            }
            if downstream {
                for asset in &self.0 {
                    if asset.sources.iter().any(|source| meant.contains(source.as_str())) {
                        meant.insert(&asset.name);
                    }
                }
            }
            wanted.extend(both);
            wanted.extend(meant);
        }
        Ok(self
            .0
            .iter()
            .filter(|asset| wanted.contains(asset.name.as_str()))
            .collect())
    }

    /// The graph has no cycle, so this ends.
    fn add_sources<'a>(&'a self, asset: &'a Asset, to: &mut BTreeSet<&'a str>) {
        for source in self.0.iter().filter(|other| asset.sources.contains(&other.name)) {
            to.insert(&source.name);
            self.add_sources(source, to);
        }
    }
}

fn is_meant(asset: &Asset, name: &str) -> bool {
    let layer = asset.layer.name();
    let short = asset
        .name
        .split_once('.')
        .map_or(asset.name.as_str(), |(_, short)| short);
    name == asset.name || name == short || name == layer || name.strip_suffix(".*") == Some(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(name: &str, sources: &[&str]) -> Asset {
        let layer = AssetLayer::of(name).unwrap();
        Asset {
            name: name.to_owned(),
            layer,
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            carries_state: false,
        }
    }

    fn graph() -> AssetGraph {
        AssetGraph::new([
            asset("gold.overview", &["gold.summary"]),
            asset("gold.summary", &["silver.trades", "silver.bars"]),
            asset("gold.positions", &["silver.trades"]),
            asset("silver.trades", &["bronze.raw_trades"]),
            asset("silver.bars", &["bronze.raw_bars"]),
            asset("bronze.raw_trades", &[]),
            asset("bronze.raw_bars", &[]),
        ])
    }

    fn selected(selection: &str) -> Vec<String> {
        graph()
            .select(selection)
            .unwrap()
            .iter()
            .map(|asset| asset.name.clone())
            .collect()
    }

    #[test]
    fn each_asset_comes_after_its_sources() {
        let graph = graph();
        assert_eq!(graph.assets().len(), 7);
        for (at, asset) in graph.assets().iter().enumerate() {
            for source in &asset.sources {
                assert!(
                    graph.assets()[..at].iter().any(|before| before.name == *source),
                    "{} after {source}",
                    asset.name
                );
            }
        }
        // What is made from itself could never be made.
        let circle = AssetGraph::new([
            asset("gold.a", &["gold.b"]),
            asset("gold.b", &["gold.a"]),
            asset("gold.c", &[]),
        ]);
        assert_eq!(circle.assets().len(), 1);
    }

    #[test]
    fn selections() {
        assert_eq!(selected("gold.overview"), ["gold.overview"]);
        assert_eq!(selected("overview"), ["gold.overview"]);
        assert_eq!(selected("gold"), ["gold.summary", "gold.positions", "gold.overview"]);
        assert_eq!(selected("gold.*"), selected("gold"));
        assert_eq!(
            selected("silver.trades+"),
            ["silver.trades", "gold.summary", "gold.positions", "gold.overview"]
        );
        assert_eq!(
            selected("+gold.positions"),
            ["bronze.raw_trades", "silver.trades", "gold.positions"]
        );
        assert_eq!(selected("+gold.overview").len(), 6);
        assert_eq!(
            selected("+silver.bars+"),
            ["bronze.raw_bars", "silver.bars", "gold.summary", "gold.overview"]
        );
        assert_eq!(selected("positions, bars"), ["silver.bars", "gold.positions"]);
        for none in ["", "gold.nothing", "gold.overview,", "++gold", "gold.**"] {
            assert!(graph().select(none).is_err(), "{none}");
        }
    }
}
