"""What turns layers into commands for a device, and tells the cycles that they take."""
