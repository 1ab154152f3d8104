"""The report: one folder of static pages, made from the results, that opens from disk."""
