"""What is kept in SQL: tables, the engine, and one file of queries per aggregate."""
