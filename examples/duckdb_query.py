"""SQL over the table:  python duckdb_query.py voyage-jobs.toml

DuckDB reads Arrow in place; of the columns only those that the query names are read from disk.
"""

import sys

import duckdb
import lancedb

import voyage_jobs


def by_day(config: str) -> list[tuple[str, str, int, int]]:
    """(source, day, documents, chunks) of what the table shows, the latest day first."""
    project = voyage_jobs.open(config)
    table = lancedb.connect(project.table_uri).open_table(project.table_name)
    connection = duckdb.connect()
    connection.register("chunks", table.to_lance())
    return connection.sql(
        "SELECT source, CAST(CAST(modified_at AS DATE) AS VARCHAR) AS day, COUNT(DISTINCT path), COUNT(*)"
        " FROM chunks GROUP BY ALL ORDER BY day DESC, source"
    ).fetchall()


if __name__ == "__main__":
    for row in by_day(sys.argv[1]):
        print(*row, sep="\t")
