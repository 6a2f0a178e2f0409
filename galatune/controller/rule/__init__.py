"""The method: floats in, floats out; readable beside the paper."""
