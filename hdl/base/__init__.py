"""What every core is made of: pipelines, counters, streams, selection, random bits."""
