"""One trial on a worker: settings in, reports out."""
