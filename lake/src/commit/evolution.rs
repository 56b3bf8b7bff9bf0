//! What becomes of a schema that is to hold more: columns and nested fields are added, types are widened where Iceberg allows it.
//! Nothing is ever removed, renamed, moved or narrowed.

use std::sync::Arc;

use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, Type};

/// A column that a table is to have: one of that name is widened until it can hold `field_type`, where there is none it is added,
/// optional. Field ids within the type mean nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedColumn {
    /// The name.
    pub name: String,
    /// The type.
    pub field_type: Type,
    /// A comment, for a new column.
    pub doc: Option<String>,
}

/// Why a column cannot come to hold a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The types have no common one that Iceberg would widen to.
    #[error("field `{field}` is {wanted}, the table's column is {column}")]
    Type {
        /// Dotted name.
        field: String,
        /// Type that is to be held.
        wanted: String,
        /// Type of the table's column.
        column: String,
    },
    /// Readers that ignore case could not tell the two apart.
    #[error("field `{field}` differs from the table's column `{column}` in case only, which readers ignore")]
    Case {
        /// Dotted name.
        field: String,
        /// The column's name.
        column: String,
    },
}

/// The schema that holds `columns` too; the same one where it does so already. New fields get ids above `last_column_id`.
pub(super) fn evolved(current: &Schema, last_column_id: i32, columns: &[WantedColumn]) -> Result<Schema, String> {
    let mut ids = Ids(last_column_id);
    let wanted: Vec<NestedFieldRef> = columns.iter().map(field_of).collect();
    let fields = widened_fields(current.as_struct().fields(), &wanted, "", &mut ids).map_err(|no| no.to_string())?;
    Schema::builder()
        .with_schema_id(current.schema_id().saturating_add(1))
        .with_identifier_field_ids(current.identifier_field_ids())
        .with_fields(fields)
        .build()
        .map_err(|error| error.to_string())
}

/// Whether `schema` has to change to hold `column`.
///
/// # Errors
/// [`Mismatch`] when no change would do.
pub(crate) fn must_change(schema: &Schema, column: &WantedColumn) -> Result<bool, Mismatch> {
    let fields = schema.as_struct().fields();
    let evolved = widened_fields(fields, &[field_of(column)], "", &mut Ids(schema.highest_field_id()))?;
    Ok(evolved != fields)
}

fn field_of(column: &WantedColumn) -> NestedFieldRef {
    let mut field = NestedField::optional(0, &column.name, column.field_type.clone());
    field.doc.clone_from(&column.doc);
    Arc::new(field)
}

/// The last field id given out.
struct Ids(i32);

impl Ids {
    fn take(&mut self) -> i32 {
        self.0 += 1;
        self.0
    }
}

fn widened_fields(
    current: &[NestedFieldRef],
    wanted: &[NestedFieldRef],
    path: &str,
    ids: &mut Ids,
) -> Result<Vec<NestedFieldRef>, Mismatch> {
    let mut fields = current.to_vec();
    for field in wanted {
        let path = dotted(path, &field.name);
        if let Some(known) = fields.iter_mut().find(|known| known.name == field.name) {
            *known = widened_field(known, &field.field_type, &path, ids)?;
        } else if let Some(known) = fields.iter().find(|known| known.name.eq_ignore_ascii_case(&field.name)) {
            return Err(Mismatch::Case {
                field: path,
                column: known.name.clone(),
            });
        } else {
            let mut added = NestedField::optional(ids.take(), &field.name, renumbered(&field.field_type, ids));
            added.doc.clone_from(&field.doc);
            fields.push(Arc::new(added));
        }
    }
    Ok(fields)
}

fn widened_field(known: &NestedFieldRef, wanted: &Type, path: &str, ids: &mut Ids) -> Result<NestedFieldRef, Mismatch> {
    let field_type = widened(&known.field_type, wanted, path, ids)?;
    if field_type == *known.field_type {
        return Ok(Arc::clone(known));
    }
    let mut field = known.as_ref().clone();
    field.field_type = Box::new(field_type);
    Ok(Arc::new(field))
}

/// The narrowest type that holds both.
fn widened(current: &Type, wanted: &Type, path: &str, ids: &mut Ids) -> Result<Type, Mismatch> {
    let mismatch = || Mismatch::Type {
        field: path.to_owned(),
        wanted: wanted.to_string(),
        column: current.to_string(),
    };
    Ok(match (current, wanted) {
        (Type::Primitive(a), Type::Primitive(b)) => Type::Primitive(common(a, b).ok_or_else(mismatch)?),
        (Type::Struct(a), Type::Struct(b)) => {
            Type::Struct(StructType::new(widened_fields(a.fields(), b.fields(), path, ids)?))
        }
        (Type::List(a), Type::List(b)) => {
            let path = dotted(path, "element");
            let element = widened_field(&a.element_field, &b.element_field.field_type, &path, ids)?;
            Type::List(ListType { element_field: element })
        }
        (Type::Map(a), Type::Map(b)) if a.key_field.field_type == b.key_field.field_type => {
            let path = dotted(path, "value");
            Type::Map(MapType {
                key_field: Arc::clone(&a.key_field),
                value_field: widened_field(&a.value_field, &b.value_field.field_type, &path, ids)?,
            })
        }
        _ => return Err(mismatch()),
    })
}

/// Iceberg's promotions: int to long, float to double, decimals to more digits before the point.
fn common(a: &PrimitiveType, b: &PrimitiveType) -> Option<PrimitiveType> {
    use PrimitiveType::{Decimal, Double, Float, Int, Long};
    match (a, b) {
        (Int, Long) | (Long, Int) => Some(Long),
        (Float, Double) | (Double, Float) => Some(Double),
        (
            Decimal { precision: p, scale },
            Decimal {
                precision: q,
                scale: other,
            },
        ) if scale == other => Some(Decimal {
            precision: *p.max(q),
            scale: *scale,
        }),
        _ => (a == b).then(|| a.clone()),
    }
}

fn dotted(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

/// The type with fresh ids for all fields within it.
fn renumbered(of: &Type, ids: &mut Ids) -> Type {
    let fresh = |field: &NestedField, ids: &mut Ids| {
        let id = ids.take();
        Arc::new(NestedField {
            id,
            field_type: Box::new(renumbered(&field.field_type, ids)),
            ..field.clone()
        })
    };
    match of {
        Type::Primitive(_) => of.clone(),
        Type::Struct(fields) => {
            let fields = fields.fields().iter().map(|field| fresh(field, ids)).collect();
            Type::Struct(StructType::new(fields))
        }
        Type::List(list) => Type::List(ListType {
            element_field: fresh(&list.element_field, ids),
        }),
        Type::Map(map) => Type::Map(MapType {
            key_field: fresh(&map.key_field, ids),
            value_field: fresh(&map.value_field, ids),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primitive(of: PrimitiveType) -> Type {
        Type::Primitive(of)
    }

    fn decimal(precision: u32, scale: u32) -> PrimitiveType {
        PrimitiveType::Decimal { precision, scale }
    }

    fn levels(fields: &[(&str, PrimitiveType)]) -> Type {
        let fields = fields
            .iter()
            .map(|(name, of)| Arc::new(NestedField::optional(0, *name, primitive(of.clone()))))
            .collect();
        let level = Type::Struct(StructType::new(fields));
        Type::List(ListType::new(Arc::new(NestedField::list_element(0, level, false))))
    }

    fn wanted(name: &str, field_type: Type) -> WantedColumn {
        WantedColumn {
            name: name.into(),
            field_type,
            doc: None,
        }
    }

    fn table(columns: &[WantedColumn]) -> Schema {
        evolved(&Schema::builder().build().unwrap(), 0, columns).unwrap()
    }

    #[test]
    fn widens_as_iceberg_allows_and_not_beyond() {
        use PrimitiveType::{Binary, Double, Float, Int, Long, String};
        let after = |a: PrimitiveType, b: PrimitiveType| {
            let schema = evolved(&table(&[wanted("f", primitive(a))]), 1, &[wanted("f", primitive(b))]).ok()?;
            let field = schema.field_by_name("f")?;
            assert_eq!(field.id, 1, "the column stays the same");
            Some(field.field_type.as_ref().clone())
        };
        assert_eq!(after(Int, Long), Some(primitive(Long)));
        assert_eq!(after(Long, Int), Some(primitive(Long)));
        assert_eq!(after(Float, Double), Some(primitive(Double)));
        assert_eq!(after(decimal(9, 2), decimal(18, 2)), Some(primitive(decimal(18, 2))));
        assert_eq!(after(decimal(18, 2), decimal(9, 2)), Some(primitive(decimal(18, 2))));
        assert_eq!(after(decimal(9, 2), decimal(9, 3)), None);
        assert_eq!(after(Long, Double), None);
        assert_eq!(after(Int, Float), None);
        assert_eq!(after(String, Binary), None);
        assert_eq!(after(Int, String), None);
    }

    #[test]
    fn nested_fields_are_added_and_keep_their_ids() {
        let before = table(&[wanted(
            "bids",
            levels(&[("price", PrimitiveType::Float), ("size", PrimitiveType::Int)]),
        )]);
        let last = before.highest_field_id();
        let more = levels(&[
            ("orders", PrimitiveType::Int),
            ("size", PrimitiveType::Long),
            ("price", PrimitiveType::Float),
        ]);
        let after = evolved(&before, last, &[wanted("bids", more.clone())]).unwrap();
        let id = |schema: &Schema, name: &str| schema.field_id_by_name(name);
        for name in ["bids", "bids.element", "bids.element.price", "bids.element.size"] {
            assert_eq!(id(&after, name), id(&before, name), "{name}");
        }
        assert_eq!(id(&after, "bids.element.orders"), Some(last + 1));
        let size = after.field_by_name("bids.element.size").unwrap();
        assert_eq!(*size.field_type, primitive(PrimitiveType::Long));
        assert!(must_change(&before, &wanted("bids", more.clone())).unwrap());
        assert!(!must_change(&after, &wanted("bids", more)).unwrap());
        assert!(!must_change(&after, &wanted("bids", levels(&[("price", PrimitiveType::Float)]))).unwrap());
    }

    #[test]
    fn names_that_differ_in_case_only_do_not_get_together() {
        let before = table(&[
            wanted("Price", primitive(PrimitiveType::Double)),
            wanted("bids", levels(&[("Size", PrimitiveType::Int)])),
        ]);
        let refused = |column: &WantedColumn| must_change(&before, column).unwrap_err().to_string();
        assert!(refused(&wanted("price", primitive(PrimitiveType::Double))).contains("column `Price` in case only"));
        assert!(
            refused(&wanted("bids", levels(&[("size", PrimitiveType::Int)]))).starts_with("field `bids.element.size`")
        );
    }
}
