"""The training core: its commands, registers, memories, and what they compute."""
