//! Bronze is compacted while it is written: few files, and the same rows, whatever is killed meanwhile.

use tapehouse_tests::{Error, Feed, Node, NodeOptions, Site, Topic, await_that, stack};

use crate::support::{PATIENCE, await_rows, forever, with};

const TRADES: u64 = 24_000;
/// Seven a tier of up to 24,000 rows; of a day that is over, one is left.
const MOST_FILES: f64 = 40.0;

/// The value of a series of the node's metrics.
fn series(node: &Node, name: &str) -> Result<f64, Error> {
    let metrics = node.metrics()?;
    let line = metrics.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok());
    value.ok_or_else(|| Error::unexpected(format!("no {name} in\n{metrics}")))
}

#[test]
fn files_stay_few_while_records_flow_and_nodes_die() {
    with(stack(), "compaction", |servers, folder| {
        let topic = Topic {
            topic: "compaction.trades".to_owned(),
            table: "bronze.raw_trades".to_owned(),
        };
        let site = Site::new(
            folder,
            servers,
            std::slice::from_ref(&topic),
            "[commit]\nmax_age_ms = 50",
        )?;
        let feed = Feed::of(servers);
        let count = TRADES.to_string();
        std::thread::scope(|scope| {
            let options = ["--topic", "trades", "--count", &count, "--rate", "1500", "--seed", "7"];
            let site = &site;
            let flow = scope.spawn(move || feed.generate(site, &options));
            // New files are written, and the process dies before they are committed.
            let options = NodeOptions {
                for_ever: true,
                failpoint: Some("after_compaction_write:kill:3".to_owned()),
                ..NodeOptions::default()
            };
            let mut first = Node::start(site, "a", &options)?;
            first.wait_for_death(PATIENCE)?;
            let mut second = forever(site, "a")?;
            let flow = flow.join().map_err(|_| Error::unexpected("the generator panicked"))?;
            flow?;
            await_rows(site, &topic, &mut second, TRADES)?;
            let compactions = "tapehouse_compactions_total{outcome=\"committed\"";
            let mut seen = (0.0, 0.0);
            await_that("few files", PATIENCE, || {
                seen = (
                    series(&second, "tapehouse_table_files{")?,
                    series(&second, compactions)?,
                );
                Ok(seen.0 <= MOST_FILES && seen.1 >= 3.0)
            })
            .map_err(|error| Error::unexpected(format!("{error}: {seen:?} files and compactions")))?;
            second.kill()
        })?;
        let commits = site.progress(&topic.table).map_or(0, |progress| progress.commits);
        if commits < 80 {
            return Err(Error::unexpected(format!(
                "only {commits} commits: no test of compaction"
            )));
        }
        site.demand(&topic, Some(TRADES))?;
        let verified = site.tapehouse("a").args(["verify"]).output();
        let verified = verified.map_err(Error::io("tapehouse verify"))?;
        match verified.status.success() {
            true => Ok(()),
            false => Err(Error::unexpected(
                String::from_utf8_lossy(&verified.stdout).into_owned(),
            )),
        }
    });
}
