"""Questions to a traced circuit: is each gate right, which gradients differ, is it healthy."""
