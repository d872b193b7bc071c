"""Health checks: what they are and what follows from a result (``checks``), and their being run (``monitor``)."""
