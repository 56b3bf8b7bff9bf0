//! Versions of days, as manifests tell them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tapehouse_lake::commit::{Rewrite, Rewritten};
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::{LiveRows, LoadedTable};
use uuid::Uuid;

use crate::market::{DAY, DAY_US, HOUR_US, Market, Trade, trade};
use crate::place::{Kind, on_each_catalog};

on_each_catalog! {
    day_versions_follow_what_happens_to_each_day,
    a_rewrite_changes_no_day_version,
}

async fn day_versions_follow_what_happens_to_each_day(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let lake = market.rig.lake.clone();
    let versions = |table: LoadedTable| {
        let lake = lake.clone();
        async move { lake.day_versions(&table).await.unwrap() }
    };
    let (one, two) = (trade(1, "A", DAY_US), trade(2, "A", DAY_US + 24 * HOUR_US));
    let (committed, _) = market.merge(&[one.clone(), trade(3, "A", DAY_US), two]).await;
    assert_eq!(versions(committed.table).await, [(DAY, 1), (DAY + 1, 1)].into());
    let (committed, _) = market.merge(&[trade(4, "A", DAY_US + 24 * HOUR_US)]).await;
    assert_eq!(versions(committed.table).await, [(DAY, 1), (DAY + 1, 2)].into());
    // Moved to a third day: the first has a delete file now.
    let moved = Trade {
        time_us: DAY_US + 50 * HOUR_US,
        ..one
    };
    let (committed, touched) = market.merge(&[moved]).await;
    assert_eq!(touched, [DAY, DAY + 2].into());
    let summary = &committed
        .table
        .metadata()
        .current_snapshot()
        .unwrap()
        .summary()
        .additional_properties;
    assert_eq!(summary["tapehouse.days"], r#"["2024-06-03","2024-06-05"]"#);
    assert_eq!(
        versions(committed.table.clone()).await,
        [(DAY, 3), (DAY + 1, 2), (DAY + 2, 3)].into()
    );
    let days = lake.days(&committed.table).await.unwrap();
    assert_eq!((days[&DAY].rows, days[&DAY].files, days[&DAY].delete_files), (1, 1, 1));
    assert_eq!((days[&(DAY + 1)].rows, days[&(DAY + 1)].files), (2, 2));
    // Somebody else, with an empty cache, sees the same.
    let other = market.rig.other().await;
    let table = committed.table;
    assert_eq!(other.day_versions(&table).await.unwrap(), versions(table).await);
}

/// Its output has the highest sequence number of its inputs.
async fn a_rewrite_changes_no_day_version(kind: Kind) {
    let Some(mut market) = Market::new(kind).await else {
        return;
    };
    let lake = market.rig.lake.clone();
    market
        .merge(&[trade(1, "A", DAY_US), trade(2, "A", DAY_US + 24 * HOUR_US)])
        .await;
    let (committed, _) = market.merge(&[trade(4, "A", DAY_US + 24 * HOUR_US)]).await;
    let live = lake.live_files(&committed.table).await.unwrap();
    let inputs: Vec<Rewritten> = live
        .data_files()
        .filter(|(file, _)| file.file_path().contains("trade_date=2024-06-04"))
        .map(|(file, _)| Rewritten {
            data_file: file.file_path().to_owned(),
            delete_file: None,
        })
        .collect();
    assert_eq!(inputs.len(), 2);
    let mut rows = LiveRows::of_day(&lake, &committed.table, &all_columns(), DAY + 1)
        .await
        .unwrap();
    let mut read = Vec::new();
    while let Some((_, batch)) = rows.next().await.unwrap() {
        read.push(batch);
    }
    let layout = market.merger.layout();
    let mut encoder = tapehouse_lake::files::FileEncoder::open(layout, DAY + 1, &read[0]).unwrap();
    read.iter().for_each(|batch| {
        encoder
            .push(&batch.clone().with_schema(Arc::clone(layout.arrow())).unwrap())
            .unwrap()
    });
    let location = committed.table.metadata().location().to_owned();
    let output = tapehouse_lake::files::write_file(lake.warehouse(), &location, 0, encoder.finish().unwrap());
    let rewrite = Rewrite {
        commit_id: Uuid::new_v4(),
        inputs,
        outputs: vec![output.await.unwrap()],
        deletes: Vec::new(),
        summary: BTreeMap::new(),
    };
    lake.rewrite(&market.rig.ident, &rewrite).await.unwrap();
    let table = market.rig.table().await;
    assert_eq!(table.metadata().last_sequence_number(), 3);
    assert_eq!(lake.days(&table).await.unwrap()[&(DAY + 1)].files, 1);
    assert_eq!(
        lake.day_versions(&table).await.unwrap(),
        [(DAY, 1), (DAY + 1, 2)].into()
    );
}

fn all_columns() -> Vec<&'static str> {
    let fields = SilverTable::Trades.arrow().fields();
    fields.iter().map(|field| field.name().as_str()).collect()
}
