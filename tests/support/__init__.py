"""Simulated worlds for the tests: clocks, wires, phones, authorities."""
