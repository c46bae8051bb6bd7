"""From numbers to codes and back: wide floats, shifters, rounding, encoders."""
