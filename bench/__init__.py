"""How fast steward is, beside the tools that a team would use without it.

``python -m bench --help``. Nothing here is part of the tests: it measures, it asserts nothing about time.
"""
