"""The bench of data sets: every training recipe on data and settings of many kinds."""
