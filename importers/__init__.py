"""Readers of the exports, dumps and data sets that people have on disk; tools/convert.py turns them into AGLRec's files."""
