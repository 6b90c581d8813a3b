"""The Ray cluster: found, started or joined; what trials get of it, and what its machines share."""
