"""Defences taken out of the product one at a time: for each promise, the tests that notice."""
