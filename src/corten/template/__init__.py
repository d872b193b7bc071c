"""Go's text/template as Docker has it in ``--format`` and in log tags (https://pkg.go.dev/text/template, Go 1.24).

:mod:`engine` renders, :mod:`parser` compiles, :mod:`values` says what data is worth in Go.
"""
