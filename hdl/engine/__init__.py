"""The training core: queue, loads, memories, products, results, registers."""
