//! Where a demo keeps its tables.

use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// The folder of one demo: catalog, warehouse and checkpoints. It stays when the demo ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// `wanted`, which must not hold another demo's tables; without it a new folder of its own.
    ///
    /// # Errors
    /// When the folder holds a catalog already or cannot be made.
    pub fn make(wanted: Option<&Path>) -> Result<Self, Failure> {
        let folder = match wanted {
            Some(folder) => existing_or_new(folder)?,
            None => of_its_own()?,
        };
        let folder = folder.canonicalize().map_err(|error| cannot(&folder, &error))?;
        match folder.to_str() {
            Some(_) => Ok(Self { folder }),
            None => Err(Failure::failed("the folder's name is not UTF-8, which catalogs cannot hold").code("demo_dir")),
        }
    }

    /// The folder, absolute.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The catalog's address. Four slashes: SQLAlchemy, and so PyIceberg, takes three to begin a relative path.
    pub fn catalog_uri(&self) -> String {
        format!("sqlite:///{}", self.folder.join("catalog.db").display())
    }

    /// The warehouse's address.
    pub fn warehouse(&self) -> String {
        format!("file://{}", self.folder.join("warehouse").display())
    }

    /// The folder of checkpoints.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.join("tapehouse-state")
    }
}

fn existing_or_new(folder: &Path) -> Result<PathBuf, Failure> {
    if folder.join("catalog.db").exists() {
        let message = format!("{} holds the tables of an earlier demo", folder.display());
        let hint = "their Kafka is gone, so they cannot be continued: choose another folder, or remove this one";
        return Err(Failure::failed(message).code("demo_dir").hint(hint));
    }
    std::fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
    Ok(folder.to_owned())
}

fn of_its_own() -> Result<PathBuf, Failure> {
    let folder = tempfile::Builder::new().prefix("tapehouse-demo-").tempdir();
    let folder =
        folder.map_err(|error| cannot(&std::env::temp_dir(), &error).hint("name another folder: --dir DIR"))?;
    Ok(folder.keep())
}

fn cannot(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{} cannot be used: {error}", folder.display())).code("demo_dir")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_tables_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("new");
        let place = Place::make(Some(&folder)).unwrap();
        assert!(place.catalog_uri().starts_with("sqlite:////"));
        assert!(place.warehouse().starts_with("file:///"));
        std::fs::write(folder.join("catalog.db"), "").unwrap();
        assert!(
            Place::make(Some(&folder))
                .unwrap_err()
                .to_string()
                .contains("earlier demo")
        );
    }

    #[test]
    fn folders_of_their_own_differ() {
        let (first, second) = (Place::make(None).unwrap(), Place::make(None).unwrap());
        assert_ne!(first, second);
        for place in [first, second] {
            std::fs::remove_dir(place.folder()).unwrap();
        }
    }
}
