//! Columns added while data flows.

use std::sync::Arc;

use iceberg::spec::{ListType, NestedField, PrimitiveType, StructType, Type};
use tapehouse_lake::{CommitError, WantedColumn};

use crate::place::{Kind, on_each_catalog};
use crate::support::Rig;

on_each_catalog! {
    added_columns_get_fresh_ids_and_older_files_stay_valid,
    a_schema_that_changed_meanwhile_or_has_the_column_is_refused,
}

fn nested() -> Type {
    let price = NestedField::optional(1, "price", Type::Primitive(PrimitiveType::Double));
    let size = NestedField::optional(2, "size", Type::Primitive(PrimitiveType::Double));
    let level = Type::Struct(StructType::new(vec![Arc::new(price), Arc::new(size)]));
    Type::List(ListType::new(Arc::new(NestedField::list_element(1, level, false))))
}

async fn added_columns_get_fresh_ids_and_older_files_stay_valid(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    rig.append(&[(0, 0, 3)]).await;
    let before = rig.table().await;
    let staged_before = rig.stage(&[(0, 3, 5)]).await;
    let columns = [
        WantedColumn {
            name: "venue".into(),
            field_type: Type::Primitive(PrimitiveType::String),
            doc: Some("where".into()),
        },
        WantedColumn {
            name: "levels".into(),
            field_type: nested(),
            doc: None,
        },
    ];
    let after = rig
        .lake
        .evolve_columns(&rig.ident, before.metadata().current_schema_id(), &columns)
        .await
        .unwrap();
    let schema = after.metadata().current_schema();
    let last = before.metadata().last_column_id();
    let venue = schema.field_by_name("venue").unwrap();
    assert_eq!(
        (venue.id, venue.required, venue.doc.as_deref()),
        (last + 1, false, Some("where"))
    );
    let mut ids: Vec<i32> = schema.field_id_to_fields().keys().copied().collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=last + 5).collect::<Vec<_>>(), "all ids unique and in order");
    assert_eq!(after.metadata().last_column_id(), last + 5);
    assert_eq!(after.stream_state().unwrap(), before.stream_state().unwrap());
    // Staged under the older schema, committed under the newer.
    rig.lake.append(&rig.ident, &staged_before).await.unwrap();
    rig.append(&[(0, 5, 6)]).await;
    assert_eq!(rig.rows().await.len(), 6);
    let fresh = rig.other().await.load(&rig.ident).await.unwrap().unwrap();
    assert_eq!(fresh.metadata().current_schema(), schema);
}

async fn a_schema_that_changed_meanwhile_or_has_the_column_is_refused(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let column = |name: &str| WantedColumn {
        name: name.into(),
        field_type: Type::Primitive(PrimitiveType::Long),
        doc: None,
    };
    let base = rig.table().await.metadata().current_schema_id();
    rig.lake.evolve_columns(&rig.ident, base, &[column("a")]).await.unwrap();
    let error = rig
        .other()
        .await
        .evolve_columns(&rig.ident, base, &[column("b")])
        .await
        .unwrap_err();
    assert!(matches!(error, CommitError::Conflict { .. }), "{error}");
    let current = rig.table().await.metadata().current_schema_id();
    let error = rig
        .lake
        .evolve_columns(&rig.ident, current, &[column("SYMBOL")])
        .await
        .unwrap_err();
    assert!(matches!(error, CommitError::Validation { .. }), "{error}");
    let mut staged = rig.stage(&[(0, 0, 1)]).await;
    staged.schema_id = 99;
    assert!(matches!(
        rig.lake.append(&rig.ident, &staged).await,
        Err(CommitError::Validation { .. })
    ));
}
