"""What the oracles share: DuckDB with its Iceberg reader, catalogs, and file locations. Nothing here comes from Tapehouse."""

import glob
import os
import urllib.parse

import duckdb
import duckdb_extension_avro
import duckdb_extension_iceberg


def connect(threads=2, memory="4GB"):
    """A DuckDB connection that reads Iceberg without a network.

    The PyPI packages carry the extension files; LOAD takes a path, and iceberg needs avro loaded before it.
    """
    db = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    for package in (duckdb_extension_avro, duckdb_extension_iceberg):
        folder = os.path.dirname(package.__file__)
        (extension,) = glob.glob(os.path.join(folder, "extensions", "*", "*.duckdb_extension"))
        db.execute(f"LOAD '{extension}'")
    if "S3_ENDPOINT" in os.environ:
        reach_s3(db)
    db.execute(f"SET threads = {threads}; SET memory_limit = '{memory}'; SET TimeZone = 'UTC'")
    return db


def reach_s3(db):
    """Lets DuckDB read s3:// locations from the server that the environment names (S3_ENDPOINT and keys, as tests/services/s3.sh prints them)."""
    import duckdb_extension_httpfs

    folder = os.path.dirname(duckdb_extension_httpfs.__file__)
    (extension,) = glob.glob(os.path.join(folder, "extensions", "*", "*.duckdb_extension"))
    db.execute(f"LOAD '{extension}'")
    endpoint = urllib.parse.urlparse(os.environ["S3_ENDPOINT"])
    use_ssl = str(endpoint.scheme == "https").lower()
    db.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['S3_ACCESS_KEY_ID']}', SECRET '{os.environ['S3_SECRET_ACCESS_KEY']}', "
        f"ENDPOINT '{endpoint.netloc}', USE_SSL {use_ssl}, URL_STYLE 'path', REGION 'us-east-1')"
    )


def s3_properties():
    """The same for PyIceberg."""
    if "S3_ENDPOINT" not in os.environ:
        return {}
    # The checksums that Arrow's client adds of itself are more than some servers parse.
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    return {
        "s3.endpoint": os.environ["S3_ENDPOINT"],
        "s3.access-key-id": os.environ["S3_ACCESS_KEY_ID"],
        "s3.secret-access-key": os.environ["S3_SECRET_ACCESS_KEY"],
        "s3.region": "us-east-1",
        "s3.path-style-access": "true",
    }


def catalog_uri(text):
    """The SQLAlchemy URI of a SQL catalog, without a name after `#`: a SQLite database given as a path or as sqlite:///absolute/path (three slashes or four), or PostgreSQL."""
    text = text.partition("#")[0]
    if text.startswith(("postgresql:", "postgres:")):
        return "postgresql+psycopg2:" + text.partition(":")[2]
    if text.startswith("sqlite:///"):
        text = "/" + text.removeprefix("sqlite:///").lstrip("/")
    return "sqlite:///" + os.path.abspath(text)


def open_catalog(text, warehouse=None, name="default"):
    """PyIceberg's own catalog for what `text` names: SQLite, PostgreSQL, or with http(s) a REST catalog; `#NAME` at its end names the catalog."""
    text, _, named = text.partition("#")
    name = named or name
    if text.startswith(("http://", "https://")):
        from pyiceberg.catalog.rest import RestCatalog

        return RestCatalog(name, uri=text, **({"warehouse": warehouse} if warehouse else {}), **s3_properties())
    from pyiceberg.catalog.sql import SqlCatalog

    return SqlCatalog(name, uri=catalog_uri(text), warehouse=warehouse or "", **s3_properties())


def open_file(location):
    """The file at a location, opened for reading bytes."""
    if not location.startswith("s3:"):
        return open(local_path(location), "rb")
    from pyiceberg.io.pyarrow import PyArrowFileIO

    return PyArrowFileIO(s3_properties()).new_input(location).open()


def local_path(location):
    """The path in the file system of a location; locations are file:///path, file:/path or a bare path."""
    if not location.startswith("file:"):
        return location
    path = urllib.parse.urlparse(location).path
    return path if os.path.exists(path) else urllib.parse.unquote(path)
