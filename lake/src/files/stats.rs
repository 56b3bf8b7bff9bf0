//! Column statistics of a finished Parquet file, as Iceberg's manifests keep them.

use std::collections::HashMap;

use iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType, Schema, Type};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

/// Statistics by Iceberg field id.
#[derive(Debug, Default)]
pub(super) struct ColumnStats {
    pub(super) sizes: HashMap<i32, u64>,
    pub(super) values: HashMap<i32, u64>,
    pub(super) nulls: HashMap<i32, u64>,
    pub(super) lower: HashMap<i32, Datum>,
    pub(super) upper: HashMap<i32, Datum>,
}

impl ColumnStats {
    /// Sums over the row groups. A column has bounds only if every row group has exact ones.
    pub(super) fn of(metadata: &ParquetMetaData, schema: &Schema) -> Self {
        let mut stats = Self::default();
        let mut without_bounds = Vec::new();
        for group in metadata.row_groups() {
            stats.add(group, schema, &mut without_bounds);
        }
        for id in without_bounds {
            stats.lower.remove(&id);
            stats.upper.remove(&id);
        }
        stats
    }

    fn add(&mut self, group: &RowGroupMetaData, schema: &Schema, without_bounds: &mut Vec<i32>) {
        for chunk in group.columns() {
            let info = chunk.column_descr().self_type().get_basic_info();
            if !info.has_id() {
                continue;
            }
            let id = info.id();
            *self.sizes.entry(id).or_default() += u64::try_from(chunk.compressed_size()).unwrap_or(0);
            *self.values.entry(id).or_default() += u64::try_from(chunk.num_values()).unwrap_or(0);
            let Some(statistics) = chunk.statistics() else {
                continue;
            };
            if let Some(nulls) = statistics.null_count_opt() {
                *self.nulls.entry(id).or_default() += nulls;
            }
            let all_null = statistics.null_count_opt() == u64::try_from(chunk.num_values()).ok();
            match bounds(statistics, schema, id) {
                Some((lower, upper)) => self.widen(id, lower, upper),
                None if all_null => {}
                None => without_bounds.push(id),
            }
        }
    }

    fn widen(&mut self, id: i32, lower: Datum, upper: Datum) {
        self.lower
            .entry(id)
            .and_modify(|known| {
                if lower < *known {
                    *known = lower.clone();
                }
            })
            .or_insert(lower);
        self.upper
            .entry(id)
            .and_modify(|known| {
                if upper > *known {
                    *known = upper.clone();
                }
            })
            .or_insert(upper);
    }
}

fn bounds(statistics: &Statistics, schema: &Schema, id: i32) -> Option<(Datum, Datum)> {
    let field = schema.field_by_id(id)?;
    let Type::Primitive(primitive) = field.field_type.as_ref() else {
        return None;
    };
    match statistics {
        Statistics::Int32(values) => {
            let datum = |value: i32| match primitive {
                PrimitiveType::Int => Some(Datum::int(value)),
                PrimitiveType::Date => Some(Datum::date(value)),
                _ => None,
            };
            Some((datum(*values.min_opt()?)?, datum(*values.max_opt()?)?))
        }
        Statistics::Int64(values) => {
            let datum = |value: i64| match primitive {
                PrimitiveType::Long => Some(Datum::long(value)),
                PrimitiveType::Timestamptz => Some(Datum::timestamptz_micros(value)),
                PrimitiveType::Timestamp => Some(Datum::timestamp_micros(value)),
                _ => None,
            };
            Some((datum(*values.min_opt()?)?, datum(*values.max_opt()?)?))
        }
        _ => None,
    }
}

/// A bound of an integer column.
pub(crate) fn whole_number(bound: &Datum) -> Option<i64> {
    match bound.literal() {
        PrimitiveLiteral::Int(number) => Some(i64::from(*number)),
        PrimitiveLiteral::Long(number) => Some(*number),
        _ => None,
    }
}
