"""One run from end to end: Lightning's command line, exact resume, loggers, and the result it leaves."""
