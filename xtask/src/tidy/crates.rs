//! Which crate may depend on which: the layers of ARCHITECTURE.md.

use super::Finding;

/// Crate and the workspace crates that it may depend on, in its normal and build dependencies.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("tapehouse-core", &[]),
    ("tapehouse-proto", &[]),
    ("tapehouse-kafka", &["tapehouse-core"]),
    ("tapehouse-lake", &["tapehouse-core"]),
    ("tapehouse-cluster", &["tapehouse-core", "tapehouse-proto"]),
    (
        "tapehouse-actors",
        &["tapehouse-core", "tapehouse-kafka", "tapehouse-lake"],
    ),
    ("xtask", &[]),
];

/// The domain does no input or output: it can neither wait nor speak to anybody.
const NOT_IN_CORE: [&str; 10] = [
    "tokio",
    "reqwest",
    "rdkafka",
    "iceberg",
    "sqlx",
    "sled",
    "axum",
    "rayon",
    "arrow-array",
    "parquet",
];

pub fn check(manifest: &str) -> Vec<Finding> {
    let Some(name) = package_name(manifest) else {
        return Vec::new();
    };
    let Some((_, allowed)) = ALLOWED.iter().find(|(member, _)| *member == name) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (line, dependency) in dependencies(manifest) {
        if dependency.starts_with("tapehouse") && !allowed.contains(&dependency) {
            findings.push(Finding::new(line, format!("{name} must not depend on {dependency}")));
        }
        if name == "tapehouse-core" && NOT_IN_CORE.contains(&dependency) {
            findings.push(Finding::new(
                line,
                format!("{name} is pure and does without {dependency}"),
            ));
        }
    }
    findings
}

fn package_name(manifest: &str) -> Option<&str> {
    let package = manifest.split("[package]").nth(1)?;
    let line = package.lines().find(|line| line.starts_with("name"))?;
    line.split('"').nth(1)
}

/// Names of the dependencies, with the lines they stand on; those of tests alone are not bound by the layers.
fn dependencies(manifest: &str) -> Vec<(usize, &str)> {
    let (mut found, mut inside) = (Vec::new(), false);
    for (index, line) in manifest.lines().enumerate() {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = !section.contains("dev-dependencies") && section.ends_with("dependencies");
            // [dependencies.NAME]
            if let (false, Some((_, name))) = (
                section.contains("dev-dependencies"),
                section.split_once("dependencies."),
            ) {
                found.push((index + 1, name));
            }
        } else if inside
            && let Some(name) = line
                .split(['.', '=', ' '])
                .next()
                .filter(|name| !name.is_empty() && !name.starts_with('#'))
        {
            found.push((index + 1, name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_looks_upwards_is_found() {
        let manifest = "[package]\nname = \"tapehouse-kafka\"\n[dependencies]\ntapehouse-core.workspace = true\ntapehouse-lake = { path = \"x\" }\n[dev-dependencies]\ntapehouse-actors.workspace = true\n";
        assert_eq!(
            check(manifest),
            [Finding::new(5, "tapehouse-kafka must not depend on tapehouse-lake")]
        );
    }

    #[test]
    fn the_core_stays_pure() {
        let manifest = "[package]\nname = \"tapehouse-core\"\n[dependencies]\nserde.workspace = true\n[target.'cfg(unix)'.dependencies]\ntokio.workspace = true\n[dependencies.sled]\nversion = \"1\"\n";
        let lines: Vec<usize> = check(manifest).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [6, 7]);
    }

    #[test]
    fn the_node_may_use_all() {
        assert_eq!(
            check("[package]\nname = \"tapehouse\"\n[dependencies]\ntapehouse-actors.workspace = true\n"),
            []
        );
    }
}
