"""The report of finished runs: rows, comparisons, words, figures with their tables, one HTML page and CSV files."""
