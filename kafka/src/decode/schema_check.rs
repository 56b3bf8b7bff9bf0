//! What a writer schema must be like before a decoder is built for it. A few lines of Avro can name billions of fields (a record of
//! two records of two records ...), and the decoder library writes every name out.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Longest schema text, in bytes.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Most fields, items, values and branches, every name written out.
const MAX_NODES: u64 = 4096;
/// Deepest nesting of records, arrays, maps and unions, every name written out. Readers of Parquet recurse as deep.
const MAX_DEPTH: u32 = 32;
/// Most bytes that a row takes in memory before it has any value: a null `fixed` or record takes the space of a whole one.
const MAX_EMPTY_ROW_BYTES: u64 = 1 << 20;
/// What a value of variable length takes: an offset, rounded up to the widest simple type.
const SIMPLE_BYTES: u64 = 16;

/// What decoded rows of a schema take in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Bytes of a row before it has any value.
    pub(super) empty_bytes: u64,
    /// Most bytes for each encoded byte: a null item of an array is one byte encoded and takes the space of a whole one.
    pub(super) swell: u64,
}

impl Weight {
    /// A weight that neither exceeds.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            empty_bytes: self.empty_bytes.max(other.empty_bytes),
            swell: self.swell.max(other.swell),
        }
    }

    /// Most bytes that a value of `encoded_bytes` takes.
    pub(super) fn of(self, encoded_bytes: usize) -> u64 {
        self.empty_bytes
            .saturating_add(self.swell.saturating_mul(encoded_bytes as u64))
    }
}

/// What a type amounts to, every name in it written out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extent {
    nodes: u64,
    depth: u32,
    weight: Weight,
    /// Bytes of its shortest encoding.
    least_bytes: u64,
}

impl Extent {
    const fn simple(least_bytes: u64) -> Self {
        Self {
            nodes: 1,
            depth: 0,
            weight: Weight {
                empty_bytes: SIMPLE_BYTES,
                swell: 1,
            },
            least_bytes,
        }
    }

    fn add(&mut self, child: Self) {
        self.nodes = self.nodes.saturating_add(child.nodes);
        self.depth = self.depth.max(child.depth);
        self.weight.empty_bytes = self.weight.empty_bytes.saturating_add(child.weight.empty_bytes);
        self.weight.swell = self.weight.swell.max(child.weight.swell);
        self.least_bytes = self.least_bytes.saturating_add(child.least_bytes);
    }

    /// An array or map of these: empty it takes an offset, whatever its items are.
    fn repeated(self) -> Self {
        let swell = self.weight.empty_bytes.div_ceil(self.least_bytes.max(1));
        Self {
            nodes: self.nodes + 1,
            depth: self.depth + 1,
            weight: Weight {
                empty_bytes: SIMPLE_BYTES,
                swell: self.weight.swell.max(swell),
            },
            least_bytes: 1,
        }
    }
}

/// Types by name; `None` while the type itself is being read.
type Named = HashMap<String, Option<Extent>>;

/// What rows of this schema take.
///
/// # Errors
/// Why no decoder may be built for the schema, or readers of the table could not use its columns.
pub(super) fn check(json: &str) -> Result<Weight, String> {
    if json.len() > MAX_TEXT_BYTES {
        return Err(format!(
            "its text has {} bytes, at most {MAX_TEXT_BYTES} are read",
            json.len()
        ));
    }
    let schema: Value = serde_json::from_str(json).map_err(|error| format!("no JSON: {error}"))?;
    if schema.get("type").and_then(Value::as_str) != Some("record") {
        return Err("it is no record".to_owned());
    }
    let mut walk = Walk { named: Named::new() };
    let whole = walk.of(&schema, "", 0)?;
    match whole.weight.empty_bytes > MAX_EMPTY_ROW_BYTES {
        true => Err(format!(
            "a row without values would take {} bytes, at most {MAX_EMPTY_ROW_BYTES} may be",
            whole.weight.empty_bytes
        )),
        false => Ok(whole.weight),
    }
}

struct Walk {
    named: Named,
}

impl Walk {
    /// The extent of a type at `depth`, where names without a dot are of `namespace`.
    fn of(&mut self, schema: &Value, namespace: &str, depth: u32) -> Result<Extent, String> {
        let extent = match schema {
            Value::String(name) => self.reference(name, namespace)?,
            Value::Array(branches) => {
                let mut whole = Extent {
                    nodes: 0,
                    ..Extent::simple(1)
                };
                for branch in branches {
                    whole.add(self.of(branch, namespace, depth + 1)?);
                }
                // A null is its branch number alone.
                Extent {
                    depth: whole.depth + 1,
                    least_bytes: 1,
                    ..whole
                }
            }
            Value::Object(object) => self.object(object, namespace, depth)?,
            _ => return Err("a type is neither a name nor an object nor a union".to_owned()),
        };
        if depth + extent.depth > MAX_DEPTH {
            return Err(format!("its types are nested more than {MAX_DEPTH} deep"));
        }
        if extent.nodes > MAX_NODES {
            return Err(format!("it has more than {MAX_NODES} fields, every name written out"));
        }
        Ok(extent)
    }

    fn reference(&self, name: &str, namespace: &str) -> Result<Extent, String> {
        // The decoder library resolves names in its own way, so that any type of that name counts here; what it cannot
        // resolve it reports itself.
        let found = self
            .named
            .get(&full_name(name, namespace))
            .or_else(|| self.named.get(simple_name(name)));
        match found {
            None if name == "null" => Ok(Extent {
                nodes: 0,
                ..Extent::simple(0)
            }),
            None => Ok(Extent::simple(match name {
                "float" => 4,
                "double" => 8,
                _ => 1,
            })),
            Some(Some(extent)) => Ok(*extent),
            Some(None) => Err(format!("record {} holds itself", shown(name))),
        }
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str, depth: u32) -> Result<Extent, String> {
        let part = |key: &str| object.get(key).unwrap_or(&Value::Null);
        match part("type") {
            Value::String(kind) => match kind.as_str() {
                "record" | "error" => self.record(object, namespace, depth),
                "array" => Ok(self.of(part("items"), namespace, depth + 1)?.repeated()),
                "map" => Ok(self.of(part("values"), namespace, depth + 1)?.repeated()),
                "fixed" => self.fixed(object, namespace),
                "enum" => Ok(self.name(object, namespace, Extent::simple(1))),
                name => self.reference(name, namespace),
            },
            other => self.of(other, namespace, depth),
        }
    }

    fn fixed(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<Extent, String> {
        let size = object.get("size").and_then(Value::as_u64).unwrap_or(0);
        if size == 0 {
            return Err("a fixed type has no bytes".to_owned());
        }
        let mut extent = Extent::simple(size);
        extent.weight.empty_bytes = size.max(SIMPLE_BYTES);
        Ok(self.name(object, namespace, extent))
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str, depth: u32) -> Result<Extent, String> {
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
        let namespace = own_namespace(object, namespace);
        let keys = [full_name(name, namespace), simple_name(name).to_owned()];
        for key in &keys {
            self.named.insert(key.clone(), None);
        }
        let fields = object.get("fields").and_then(Value::as_array);
        let fields = fields
            .filter(|fields| !fields.is_empty())
            .ok_or_else(|| format!("record {} has no fields", shown(name)))?;
        let mut seen: HashMap<String, &str> = HashMap::with_capacity(fields.len());
        let mut whole = Extent {
            nodes: 1,
            ..Extent::default()
        };
        for field in fields {
            let field_name = field.get("name").and_then(Value::as_str).unwrap_or_default();
            check_name(field_name)?;
            if let Some(other) = seen.insert(field_name.to_ascii_lowercase(), field_name) {
                return Err(format!(
                    "fields {other} and {field_name} of record {} have the same name for readers, which ignore case",
                    shown(name)
                ));
            }
            whole.add(self.of(field.get("type").unwrap_or(&Value::Null), namespace, depth + 1)?);
        }
        whole.depth += 1;
        for key in keys {
            self.named.insert(key, Some(whole));
        }
        Ok(whole)
    }

    fn name(&mut self, object: &Map<String, Value>, namespace: &str, extent: Extent) -> Extent {
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
        let namespace = own_namespace(object, namespace);
        self.named.insert(full_name(name, namespace), Some(extent));
        self.named.insert(simple_name(name).to_owned(), Some(extent));
        extent
    }
}

/// Avro's rule for names; it is also what every reader of Iceberg takes without quotes or escapes.
fn check_name(name: &str) -> Result<(), String> {
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let mut letters = name.chars();
    let fits =
        letters.next().is_some_and(is_letter) && letters.all(|letter| is_letter(letter) || letter.is_ascii_digit());
    match fits {
        true => Ok(()),
        false => Err(format!("{} is no Avro name", shown(name))),
    }
}

/// The name as far as a message needs it.
fn shown(name: &str) -> String {
    format!("`{}`", name.escape_default().take(100).collect::<String>())
}

fn own_namespace<'n>(object: &'n Map<String, Value>, inherited: &'n str) -> &'n str {
    let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
    match name.rsplit_once('.') {
        Some((namespace, _)) => namespace,
        None => object.get("namespace").and_then(Value::as_str).unwrap_or(inherited),
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

fn simple_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests;
