"""What tests and benches are made of: simulators, streams, stimulus, checks of figures."""
