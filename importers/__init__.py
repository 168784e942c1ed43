"""Readers of what people have on disk: exports, dumps, data sets; tools/convert.py turns them into AGLRec's files."""
