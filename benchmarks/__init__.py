"""Measurements of AGLRec beside the standard form of LightGCN; each module runs with python -m benchmarks.NAME."""
