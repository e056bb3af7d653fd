"""What a table means: check it, step it, run it, fold its journal, draw it.

This package knows no protocol. It gives meaning to the frozen tables of `specs`.
"""
